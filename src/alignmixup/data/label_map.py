"""Which output of a network each class folder stands for, where the two do not come in the same order."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alignmixup.data.dataset import ImageData
from alignmixup.data.sets.listing import few
from alignmixup.outside import require

__all__ = ["IMAGENET", "in_outputs", "named_outputs", "read_label_map", "with_outputs"]

IMAGENET = "imagenet"  # the 1000 class folders of ImageNet in their usual order, as timm has it
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def read_label_map(source: str | Path) -> dict[str, int]:
    """The output of each class folder, counted from 0.

    Args:
        source: "imagenet" for the 1000 folders n01440764, ..., or 0, 1, ... as ImageNet-V2 has them; a JSON file
            {"FOLDER": OUTPUT}, {"OUTPUT": ["FOLDER", ...]} or ["FOLDER", ...]; or a text file with a line "FOLDER
            OUTPUT" or "FOLDER OUTPUT WORDS" for each class, or a line for each output, in their order, whose first word
            (or all of it) is the folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another form, a folder that is named twice, an output that is no whole number from 0 on, or outputs
            on some lines only.
    """
    if str(source) == IMAGENET:
        names = require("timm.data").ImageNetInfo().label_names()
        return {key: number for number, name in enumerate(names) for key in (str(name), str(number))}
    file = Path(source)
    if not file.is_file():
        raise FileNotFoundError(f"no label map at {file}: expected a JSON or text file, or {IMAGENET}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file (UTF-8): {error}") from error
    pairs = _pairs_of_json(text, file) if file.suffix.lower() == ".json" else _pairs_of_lines(text, file)
    return _checked(pairs, file)


def with_outputs(dataset: ImageData, output_of: dict[str, int], *, count: int, source: object) -> ImageData:
    """The data set with the outputs of a network as labels; outputs that no folder stands for have empty names.

    Raises:
        ValueError: a folder that the map lacks, or an output that the network lacks.
    """
    if missing := [name for name in dataset.class_names if name not in output_of]:
        raise ValueError(f"--labels {source} lacks {len(missing)} of {dataset.num_classes} folders: {few(missing)}")
    outputs = [output_of[name] for name in dataset.class_names]
    if max(outputs) >= count:
        worst = dataset.class_names[outputs.index(max(outputs))]
        raise ValueError(f"--labels {source}: {worst} is output {max(outputs)}, and the network has {count}, from 0 on")
    names = [""] * count
    for name, output in zip(dataset.class_names, outputs, strict=True):
        names[output] = f"{names[output]}, {name}" if names[output] else name
    place = torch.tensor(outputs)
    train, test = (replace(split, labels=place[split.labels]) for split in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test, class_names=tuple(names))


def named_outputs(dataset: ImageData) -> list[int]:
    """The outputs that a folder of `with_outputs` stands for."""
    return [number for number, name in enumerate(dataset.class_names) if name]


def in_outputs(dataset: ImageData, outputs: Sequence[int]) -> ImageData:
    """The data set for a network that has these outputs alone, in this order."""
    place = torch.full((dataset.num_classes,), -1)
    place[list(outputs)] = torch.arange(len(outputs))
    train, test = (replace(split, labels=place[split.labels]) for split in (dataset.train, dataset.test))
    names = tuple(dataset.class_names[number] for number in outputs)
    return replace(dataset, train=train, test=test, class_names=names)


def _pairs_of_json(text: str, file: Path) -> list[tuple[Any, Any]]:
    try:
        content = json.loads(text, object_pairs_hook=tuple)  # a dictionary would keep the last of two equal keys
    except ValueError as error:
        raise ValueError(f"{file} is no JSON file: {error}") from None
    if isinstance(content, list):
        return [(name, number) for number, name in enumerate(content)]
    if not isinstance(content, tuple):
        raise ValueError(f'{file} must hold {{"FOLDER": OUTPUT, ...}} or a list of folders')
    if all(isinstance(value, list) and value for _, value in content):  # imagenet_class_index.json
        return [(value[0], int(key) if key.isdecimal() else key) for key, value in content]
    return list(content)


def _pairs_of_lines(text: str, file: Path) -> list[tuple[Any, Any]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    words = [line.replace(",", " ").split() for _, line in lines]
    last = [(" ".join(each[:-1]), each[-1]) for each in words]  # "great white shark 2"
    second = [(each[0], each[1] if len(each) > 2 else "") for each in words]  # "n01484850 2 shark"
    for stated in (last, second):
        says = [bool(name) and _NUMBER.fullmatch(output) is not None for name, output in stated]
        if lines and all(says):
            return [(name, int(output) if output.isdecimal() else output) for name, output in stated]
        if any(says):  # lines are in the order of the outputs only where none says another: a header is no class
            number, line = lines[says.index(False)]
            raise ValueError(
                f"{file}, line {number}: {line!r} has no output where other lines have one: write FOLDER OUTPUT on all "
                "lines, or a JSON list of the folders in the order of the outputs"
            )
    first = [each[0] for each in words]
    if len(set(first)) == len(lines):  # "n01440764 tench, Tinca tinca"
        return [
            (name, n) for n, ((_, line), word) in enumerate(zip(lines, first, strict=True)) for name in {line, word}
        ]
    return [(line, n) for n, (_, line) in enumerate(lines)]


def _checked(pairs: Sequence[tuple[Any, Any]], file: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, output in pairs:
        if not isinstance(name, str) or type(output) is not int or output < 0:
            raise ValueError(f"{file}: expected FOLDER and OUTPUT, a whole number from 0 on, got {name!r}: {output!r}")
        if name in found:
            raise ValueError(f"{file} names {name} twice, as output {found[name]} and {output}")
        found[name] = output
    if not found:
        raise ValueError(f"{file} names no folder")
    return found
