"""Caltech-UCSD Birds-200-2011 in the tree of its release: 200 classes of birds, one box per image."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alignmixup.data.box_table import Box, BoxTable, whole_numbers
from alignmixup.data.dataset import FileSplit, ImageData, PathList, Split, TestView
from alignmixup.data.decode import decode_all, scaled_whole, viewed
from alignmixup.data.image_file import image_sizes
from alignmixup.data.mean_std import mean_std
from alignmixup.data.sets.release import Release
from alignmixup.data.transforms.augment import preset

__all__ = ["cub_box", "load_cub", "read_cub_boxes"]

_SIDE = 224
_AUGMENT = "squeezed_crop_flip"
_RELEASE = Release(
    "cub",
    "CUB_200_2011",
    "the tree of CUB_200_2011.tgz, https://www.vision.caltech.edu/datasets/cub_200_2011/",
    ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images"),
)


def load_cub(
    *,
    root: str | Path,
    image_size: int | None = None,
    in_memory: bool | None = None,
    test_view: TestView = "squeezed_center",
    progress: bool = True,
) -> ImageData:
    """CUB-200-2011: the classes of its ``classes.txt`` (an excerpt with classes 1 to K is as good), split by
    ``train_test_split.txt``, in the order of ``images.txt``.

    Convention:
        - a label is the class number of the release less 1.

    Arguments are those of ``alignmixup.data.load``; ``root`` may be ``CUB_200_2011`` itself, and ``in_memory`` decodes
    training images at 256 / 224 of ``image_size`` (2.3 GB for the release at 224 pixels).

    Raises:
        FileNotFoundError: the folder, a table or an image is missing.
        ValueError: damaged tables, class numbers that are not 1 to K, classes that differ between the splits.
    """
    folder = _RELEASE.find(Path(root))
    names = _read_table(folder / "images.txt")
    classes = _read_classes(folder)
    label_of = _read_numbers(folder / "image_class_labels.txt", names, allowed=range(1, len(classes) + 1))
    training = _read_numbers(folder / "train_test_split.txt", names, allowed=range(2))
    _check_images(folder, list(names.values()))
    train, test = (_split(folder, names, label_of, training, wanted) for wanted in (1, 0))
    _check_classes(folder, train, test, classes)
    size = image_size or _SIDE
    mean, std = mean_std("imagenet", channels=3)
    dataset = ImageData("cub", train, test, classes, mean, std, size, _AUGMENT, test_view)
    return _decoded(dataset, train, test, progress=progress) if in_memory else dataset


def read_cub_boxes(root: str | Path, paths: Sequence[str]) -> tuple[BoxTable, Path]:
    """The boxes of the images at ``paths``, and the set's folder that the paths start from.

    Raises:
        FileNotFoundError: the folder, ``bounding_boxes.txt`` or an image is missing.
        ValueError: a damaged table or image, or an image without a box.
    """
    folder = _RELEASE.find(Path(root))
    table = folder / "bounding_boxes.txt"
    if not table.is_file():
        raise _RELEASE.missing(f"{table} is missing")
    image_of = {f"images/{name}": image for image, name in _read_table(folder / "images.txt").items()}
    rows = _read_table(table)
    lost = [path for path in paths if image_of.get(path) not in rows]
    if lost:
        raise ValueError(f"{table} has no box for {len(lost)} images ({', '.join(lost[:3])}...): unpack it again")
    sizes = dict(zip(paths, image_sizes(folder, paths, upright=False), strict=True))
    boxes = {path: [cub_box(rows[image_of[path]], sizes[path], place=f"{table}, {path}")] for path in paths}
    return BoxTable(table, boxes, sizes), folder


def cub_box(row: str, size: tuple[int, int], *, place: str = "bounding_boxes.txt") -> Box:
    """The box that evaluation codes use for a row ``x y width height`` of the release, on an image of ``size`` (W, H).

    The corners are inclusive: x0 = x, y0 = y, x1 = min(x + width, W - 1), y1 = min(y + height, H - 1), cut to integers.

    Raises:
        ValueError: not four numbers; says ``place``.

    Source:
        Choe et al., Evaluating weakly supervised object localization methods right, CVPR 2020: its boxes of CUB.

    Example:
        >>> cub_box("60.0 27.0 325.0 304.0", (500, 335))
        (60, 27, 385, 331)
    """
    try:
        x, y, width, height = (float(number) for number in row.split())
        corners = int(x), int(y), int(x + width), int(y + height)
        if max(map(abs, corners)) >= 2**31:
            raise OverflowError
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{place}: a box is four numbers, x y width height, got {row!r}") from error
    return corners[0], corners[1], min(corners[2], size[0] - 1), min(corners[3], size[1] - 1)


def _read_table(path: Path) -> dict[str, str]:
    """Number at the start of each line -> the rest of the line."""
    rows: dict[str, str] = {}
    for number, line in _RELEASE.lines(path):
        key, _, rest = line.strip().partition(" ")
        if not rest:
            raise ValueError(
                f"{path}, line {number}: expected a number and its value, apart by a space, got {line.strip()!r}"
            )
        if key in rows:
            raise ValueError(f"{path}, line {number}: number {key} stands there twice")
        rows[key] = rest.strip()
    if not rows:
        raise _RELEASE.damaged(f"{path} is empty")
    return rows


def _read_classes(folder: Path) -> tuple[str, ...]:
    classes = _read_table(folder / "classes.txt")
    if set(classes) != {str(number) for number in range(1, len(classes) + 1)}:
        raise ValueError(
            f"{folder / 'classes.txt'} must number its {len(classes)} classes from 1 to {len(classes)}: renumber those "
            "of an excerpt, there and in image_class_labels.txt"
        )
    return tuple(classes[str(number)] for number in range(1, len(classes) + 1))


def _read_numbers(path: Path, images: dict[str, str], *, allowed: range) -> dict[str, int]:
    """What ``path`` says of each image in ``images.txt``."""
    rows = _read_table(path)
    if rows.keys() != images.keys():
        different = sorted(rows.keys() ^ images.keys())
        raise ValueError(
            f"{path} and images.txt must name the same images; {len(different)} are in one only ({different[0]}...)"
        )
    values = whole_numbers(list(rows.values()), place=str(path), meaning="values")
    for image, value in zip(rows, values, strict=True):
        if value not in allowed:
            limits = f"{allowed[0]} to {allowed[-1]}"
            raise ValueError(f"{path}: image {image} has the value {value}; values are {limits}")
    return dict(zip(rows, values, strict=True))


def _check_images(folder: Path, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{folder / 'images.txt'} names {twice} more than once")
    lost = [name for name in names if not (folder / "images" / name).is_file()]
    if lost:
        raise _RELEASE.missing(f"{len(lost)} images of images.txt are missing in {folder / 'images'} ({lost[0]}...)")


def _check_classes(folder: Path, train: FileSplit, test: FileSplit, classes: Sequence[str]) -> None:
    differing = set(train.labels.tolist()) ^ set(test.labels.tolist())
    if differing:
        names = ", ".join(classes[label] for label in sorted(differing)[:3])
        raise ValueError(
            f"{folder / 'train_test_split.txt'}: {len(differing)} classes have images in one split only ({names}...)"
        )


def _split(
    folder: Path, names: dict[str, str], label_of: dict[str, int], training: dict[str, int], wanted: int
) -> FileSplit:
    chosen = [image for image in names if training[image] == wanted]
    labels = torch.tensor([label_of[image] - 1 for image in chosen], dtype=torch.int64)
    return FileSplit(folder, PathList([f"images/{names[image]}" for image in chosen]), labels)


def _decoded(dataset: ImageData, train: FileSplit, test: FileSplit, *, progress: bool) -> ImageData:
    """The same set in memory: training images as their augmentation takes them, test images as they are seen."""
    large = preset(_AUGMENT).enlarged(dataset.image_size)

    def decode(split: FileSplit, prepare: Callable[[Any], Any], size: int) -> Split:
        files = [split.root / path for path in split.paths]
        images = decode_all(
            files, lambda image, _path: prepare(image), size=size, title="cub", progress=progress, upright=split.upright
        )
        return Split(images, split.labels, paths=split.paths, root=split.root)

    view = functools.partial(viewed, size=dataset.image_size, view=dataset.test_view)
    return replace(
        dataset,
        train=decode(train, functools.partial(scaled_whole, size=large), large),
        test=decode(test, view, dataset.image_size),
    )
