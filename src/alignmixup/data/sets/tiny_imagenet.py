"""Tiny-ImageNet-200 in the tree of its release, with any number of its classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup.data.box_table import Box, BoxTable, whole_numbers
from alignmixup.data.cache import decoded
from alignmixup.data.dataset import ImageData, PathList, Split
from alignmixup.data.decode import decode_all
from alignmixup.data.mean_std import mean_std
from alignmixup.data.sets.listing import is_hidden
from alignmixup.data.sets.release import Release
from alignmixup.data.transforms.resize import resize

__all__ = ["load_tiny_imagenet", "read_tiny_boxes"]

_SIDE = 64
_RELEASE = Release(
    "tiny-imagenet",
    "tiny-imagenet-200",
    "the tree of http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ("wnids.txt", "train", "val/val_annotations.txt"),
)


def load_tiny_imagenet(
    *, root: str | Path, image_size: int | None = None, cache: bool = True, progress: bool = True
) -> ImageData:
    """Tiny-ImageNet-200: the classes of its ``wnids.txt`` (an excerpt is as good), 64x64, with bounding
    boxes, which are scaled with the images.

    Arguments are those of ``alignmixup.data.load``; ``root`` may be ``tiny-imagenet-200`` itself, where ``cache`` keeps
    ``decoded-cache.safetensors``.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
        ValueError: a damaged image or table, an empty class, an unknown class in the annotations.
    """
    folder = _RELEASE.find(Path(root))
    wnids = _read_wnids(folder / "wnids.txt")
    train_names, train_labels = _list_train(folder, wnids)
    test_names, test_labels = _list_val(folder, wnids)
    boxes, paths = _read_boxes(folder, wnids), [folder / name for name in train_names + test_names]

    def decode() -> Tensor:
        return decode_all(paths, _checked, size=_SIDE, title="tiny-imagenet", progress=progress, upright=False)

    file = "decoded-cache.safetensors" if cache else None
    images = decoded(paths, decode, root=folder, file=file, settings=f"{_SIDE} pixels")
    size = image_size or _SIDE
    images = resize(images, size)
    count = len(train_names)

    def split(images: Tensor, labels: Sequence[int], names: Sequence[str]) -> Split:
        return Split(images, torch.tensor(labels), _stacked(boxes, names, size), PathList(names), root=folder)

    train, test = split(images[:count], train_labels, train_names), split(images[count:], test_labels, test_names)
    words, constants = _read_words(folder / "words.txt", wnids), mean_std("cifar10", channels=3)
    return ImageData("tiny-imagenet", train, test, words, *constants, size, "crop4_flip")


def read_tiny_boxes(root: str | Path) -> tuple[BoxTable, Path]:
    """The boxes of all images of the classes in ``wnids.txt``, as the release states them, and the set's folder.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
        ValueError: a damaged table, or one that names an image twice.
    """
    folder = _RELEASE.find(Path(root))
    boxes = _read_boxes(folder, _read_wnids(folder / "wnids.txt"))
    return BoxTable(folder, {name: [box] for name, box in boxes.items()}, dict.fromkeys(boxes, (_SIDE, _SIDE))), folder


def _read_boxes(folder: Path, wnids: Sequence[str]) -> dict[str, Box]:
    """The box of each image that a table names: x0, y0, x1, y1, corners included."""
    boxes: dict[str, Box] = {}
    tables = {f"train/{wnid}/images": (f"train/{wnid}/{wnid}_boxes.txt", 5) for wnid in wnids}
    for images, (name, columns) in {**tables, "val/images": ("val/val_annotations.txt", 6)}.items():
        if not (folder / name).is_file():
            continue
        for place, row in _read_table(folder / name, columns=columns):
            if f"{images}/{row[0]}" in boxes:
                raise _RELEASE.damaged(f"{place} names {row[0]} twice")
            x0, y0, x1, y1 = whole_numbers(row[-4:], place=place, meaning="box corners")
            boxes[f"{images}/{row[0]}"] = (x0, y0, x1, y1)
    return boxes


def _read_wnids(path: Path) -> list[str]:
    wnids = [name for _, line in _RELEASE.lines(path) for name in line.split()]
    if not wnids or len(set(wnids)) != len(wnids):
        raise ValueError(f"{path} must list each class once, one per line; it holds {len(wnids)} names")
    return wnids


def _read_words(path: Path, wnids: Sequence[str]) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(wnids)
    pairs = (line.partition("\t") for _, line in _RELEASE.lines(path))
    words = {wnid: description.split(",")[0].strip() for wnid, _, description in pairs}
    return tuple(words.get(wnid) or wnid for wnid in wnids)


def _list_train(folder: Path, wnids: Sequence[str]) -> tuple[list[str], list[int]]:
    paths: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        images = folder / "train" / wnid / "images"
        if not images.is_dir():
            raise FileNotFoundError(
                f"{images} is missing: wnids.txt names the class {wnid}; expected {_RELEASE.source}. Unpack it "
                "again, or remove the class from wnids.txt"
            )
        files = (path for path in images.iterdir() if not is_hidden(path.name))
        names = sorted(path.name for path in files if path.suffix.lower() in (".jpeg", ".jpg"))
        if not names:
            raise ValueError(f"{images} holds no JPEG image: unpack it again, or remove {wnid} from wnids.txt")
        paths += [f"train/{wnid}/images/{name}" for name in names]
        labels += [label] * len(names)
    return paths, labels


def _list_val(folder: Path, wnids: Sequence[str]) -> tuple[list[str], list[int]]:
    table = folder / "val" / "val_annotations.txt"
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    rows = [row for _, row in _read_table(table, columns=6) if row[1] in label_of]
    missing = set(wnids) - {row[1] for row in rows}
    if missing:
        raise _RELEASE.damaged(f"{table} names no image of {len(missing)} classes of wnids.txt ({min(missing)}...)")
    return [f"val/images/{row[0]}" for row in rows], [label_of[row[1]] for row in rows]


def _read_table(path: Path, *, columns: int) -> list[tuple[str, list[str]]]:
    """Place, for messages, and cells of each line."""
    rows = [(f"{path}, line {number}", line.split("\t")) for number, line in _RELEASE.lines(path)]
    for place, row in rows:
        if len(row) != columns:
            raise ValueError(f"{place}: {len(row)} tab-separated columns, expected {columns}: {row}")
    return rows


def _stacked(boxes: Mapping[str, Box], names: Sequence[str], size: int) -> Tensor | None:
    """Boxes as y0, x0, y1, x1, half-open, of images of ``size`` pixels; None if one is missing."""
    if not all(name in boxes for name in names):
        return None
    stacked = torch.tensor([boxes[name] for name in names])[:, [1, 0, 3, 2]] + torch.tensor([0, 0, 1, 1])
    return (stacked * (size / _SIDE)).round().long()


def _checked(image: Any, path: Path) -> Any:
    if image.size != (_SIDE, _SIDE):
        size = f"{image.size[0]}x{image.size[1]}"
        raise _RELEASE.damaged(f"{path} is {size} pixels, expected {_SIDE}x{_SIDE}")
    return image
