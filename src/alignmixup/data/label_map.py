"""Which output of a network each class folder stands for, where the two do not come in the same order."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alignmixup.data.dataset import ImageData
from alignmixup.data.sets.listing import few
from alignmixup.outside import require

__all__ = ["IMAGENET", "LabelMap", "in_outputs", "named_outputs", "read_label_map", "with_outputs"]

IMAGENET = "imagenet"  # the 1000 class folders of ImageNet in their usual order, as timm has it
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SILENT = (
    " has no output where other lines have one: write FOLDER OUTPUT on all lines, or a JSON list of the folders in the "
    "order of the outputs"
)
_Reading = Mapping[str, int | str]  # the output of each folder, or why it has none


class LabelMap(dict[str, int]):
    """The output of each class folder, as the first of ``readings`` has it.

    A text file may be read in several ways: "boeing 737" is a folder, or output 737 of the folder "boeing". The class
    folders tell which it is, so `outputs` asks for them.
    """

    def __init__(self, source: object, readings: Sequence[_Reading]) -> None:
        super().__init__({name: output for name, output in readings[0].items() if isinstance(output, int)})
        self._source, self._readings = source, readings

    def outputs(self, folders: Sequence[str]) -> list[int]:
        """The output of each folder, by the reading that names them all.

        Raises:
            ValueError: a folder that the map lacks, or that is without an output or has several.
        """
        fitting = [reading for reading in self._readings if all(name in reading for name in folders)]
        if not fitting:
            missing = min(([name for name in folders if name not in reading] for reading in self._readings), key=len)
            raise ValueError(f"--labels {self._source} lacks {len(missing)} of {len(folders)} folders: {few(missing)}")
        for name in folders:
            found = {reading[name] for reading in fitting}
            if faults := [output for output in found if isinstance(output, str)]:
                raise ValueError(f"{self._source}{faults[0]}")
            if len(found) > 1:
                raise ValueError(
                    f"{self._source} may say output {' or '.join(map(str, sorted(found)))} of {name}: write a JSON file"
                )
        return [int(fitting[0][name]) for name in folders]


def read_label_map(source: str | Path) -> LabelMap:
    """The output of each class folder, counted from 0.

    Args:
        source: "imagenet" for the 1000 folders n01440764, ..., or 0, 1, ... as ImageNet-V2 has them; a JSON file
            {"FOLDER": OUTPUT}, {"OUTPUT": ["FOLDER", ...]} or ["FOLDER", ...]; or a text file with a line "FOLDER
            OUTPUT" or "FOLDER OUTPUT WORDS" for each class, or a line for each output, in their order, whose first word
            (or all of it) is the folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another form; in JSON, or where a file can be read in one way, a folder that is named twice or an
            output that is no whole number from 0 on (else see `LabelMap.outputs`).
    """
    if str(source) == IMAGENET:
        names = require("timm.data").ImageNetInfo().label_names()
        known: _Reading = {key: number for number, name in enumerate(names) for key in (str(name), str(number))}
        return LabelMap(source, [known])
    file = Path(source)
    if not file.is_file():
        raise FileNotFoundError(f"no label map at {file}: expected a JSON or text file, or {IMAGENET}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file (UTF-8): {error}") from error
    is_json = file.suffix.lower() == ".json"
    readings = [_reading(_pairs_of_json(text, file))] if is_json else _readings_of_lines(text)
    readings.sort(key=lambda reading: bool(_faults(reading)))
    if not readings[0]:
        raise ValueError(f"{file} names no folder")
    if faults := _faults(readings[0]):
        raise ValueError(f"{file}{faults[0]}")
    return LabelMap(file, readings)


def with_outputs(dataset: ImageData, output_of: dict[str, int], *, count: int, source: object) -> ImageData:
    """The data set with the outputs of a network as labels; outputs that no folder stands for have empty names.

    Raises:
        ValueError: see `LabelMap.outputs`; or an output that the network lacks.
    """
    label_map = output_of if isinstance(output_of, LabelMap) else LabelMap(source, [output_of])
    outputs = label_map.outputs(dataset.class_names)
    if max(outputs) >= count:
        worst = dataset.class_names[outputs.index(max(outputs))]
        raise ValueError(f"--labels {source}: {worst} is output {max(outputs)}, and the network has {count}, from 0 on")
    names = [""] * count
    for name, output in zip(dataset.class_names, outputs, strict=True):
        names[output] = f"{names[output]}, {name}" if names[output] else name
    place = torch.tensor(outputs)
    train, test = (replace(split, labels=place[split.labels]) for split in (dataset.train, dataset.test))
    sources = tuple(zip(dataset.class_names, outputs, strict=True))
    return replace(dataset, train=train, test=test, class_names=tuple(names), sources=sources)


def named_outputs(dataset: ImageData) -> list[int]:
    """The outputs that a folder of `with_outputs` stands for."""
    return [number for number, name in enumerate(dataset.class_names) if name]


def in_outputs(dataset: ImageData, outputs: Sequence[int]) -> ImageData:
    """The data set for a network that has these outputs alone, in this order."""
    place = torch.full((dataset.num_classes,), -1)
    place[list(outputs)] = torch.arange(len(outputs))
    train, test = (replace(split, labels=place[split.labels]) for split in (dataset.train, dataset.test))
    names = tuple(dataset.class_names[number] for number in outputs)
    sources = tuple((name, int(place[label])) for name, label in dataset.sources)
    return replace(dataset, train=train, test=test, class_names=names, sources=sources)


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


def _readings_of_lines(text: str) -> list[_Reading]:
    """The ways in which the lines may be meant."""
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    words = [line.replace(",", " ").split() for line in lines.values()]
    first, whole = [each[0] for each in words], [(line, n) for n, line in enumerate(lines.values())]
    last = [(" ".join(each[:-1]), each[-1]) for each in words]  # "great white shark 2"
    second = [(each[0], each[1] if len(each) > 2 else "") for each in words]  # "n01484850 2 shark"
    readings = []
    for pairs in (last, second):
        says = [bool(name) and _NUMBER.fullmatch(output) is not None for name, output in pairs]
        if any(says):
            given = [(name, int(output) if output.isdecimal() else output) for name, output in pairs]
            reading = _reading([pair for pair, said in zip(given, says, strict=True) if said])
            silent = [item for item, said in zip(lines.items(), says, strict=True) if not said]
            for number, line in silent:  # a header, or a class: not one in the order of the lines
                reading.setdefault(line, f", line {number}: {line!r}{_SILENT}")
            readings.append(reading)
    if not readings and len(set(first)) == len(first):  # "n01440764 tench, Tinca tinca"
        whole += [(word, n) for n, (word, line) in enumerate(zip(first, lines.values(), strict=True)) if word != line]
    return [*readings, _reading(whole)]


def _reading(pairs: Sequence[tuple[Any, Any]]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for name, output in pairs:
        if not isinstance(name, str) or type(output) is not int or output < 0:
            fault = f": expected FOLDER and OUTPUT, a whole number from 0 on, got {name!r}: {output!r}"
            found[str(name)] = fault
        elif name not in found:
            found[name] = output
        elif isinstance(before := found[name], int):
            found[name] = f" names {name} twice, as output {before} and {output}"
    return found


def _faults(reading: _Reading) -> list[str]:
    return [output for output in reading.values() if isinstance(output, str)]
