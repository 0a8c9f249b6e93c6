"""What every data set looks like to the rest of the package: two splits, class names, constants."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from alignmixup.data.mean_std import check_constants

__all__ = ["FileSplit", "ImageData", "PathList", "Split", "TestView", "folder_files"]

# What a test image shows of its file, at a side of S pixels and with S' = S * 256 / 224:
# "center": shorter side scaled to S', centre cut out (the usual test transform of ImageNet);
# "squeezed_center": both sides scaled to S', centre cut out (localisation in the CutMix paper);
# "whole": both sides scaled to S, nothing cut (localisation since the evaluation of 2020).
TestView = Literal["center", "squeezed_center", "whole"]
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Split:
    """Images in memory.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        boxes: (N, 4) int64 as y0, x0, y1, x1, half-open; None where the release has none. Some are empty.
        paths: path of each image's file, relative to the data set's folder; None where images have none.
        upright: whether images were turned as the EXIF orientation of their files says.
        root: folder that ``paths`` start from, where it is known.

    Raises:
        ValueError: shapes or types that differ from these.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
        >>> len(split)
        2
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    paths: "PathList | None" = None
    upright: bool = False
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.images.dim() != 4 or self.images.dtype != torch.uint8:
            shape, dtype = tuple(self.images.shape), self.images.dtype
            raise ValueError(f"images must be uint8 of shape (N, C, H, W), got {dtype} of shape {shape}")
        _check_labels(self.labels, len(self.images))
        if self.boxes is not None and self.boxes.shape != (len(self.images), 4):
            raise ValueError(f"boxes must be ({len(self.images)}, 4), got {tuple(self.boxes.shape)}")
        if self.paths is not None and len(self.paths) != len(self.images):
            raise ValueError(f"paths must be one for each of {len(self.images)} images, got {len(self.paths)}")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "Split":
        """The images at ``index`` (int64), in that order."""
        boxes = None if self.boxes is None else self.boxes[index]
        paths = None if self.paths is None else self.paths.select(index)
        return replace(self, images=self.images[index], labels=self.labels[index], boxes=boxes, paths=paths)


class PathList(Sequence[str]):
    """Many file names in one block of bytes.

    A list of a million strings costs 200 MB, and each worker process would copy it by and by as it counts
    references.
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._bytes = torch.frombuffer(bytearray(b"".join(encoded) or b"\0"), dtype=torch.uint8)
        lengths = torch.tensor([0, *(len(name) for name in encoded)], dtype=torch.int64)
        self._ends = lengths.cumsum(0)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside [0, {len(self)})")
        start, end = self._ends[index : index + 2].tolist()
        return bytes(self._bytes[start:end].tolist()).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):  # a block at a time: each name alone is slow
            ends = self._ends[start : start + _AT_ONCE + 1]
            block = bytes(self._bytes[ends[0] : ends[-1]].tolist())
            for first, last in pairwise((ends - ends[0]).tolist()):
                yield block[first:last].decode("utf-8", "surrogateescape")

    def select(self, index: Tensor) -> "PathList":
        """The names at ``index`` (int64), in that order."""
        return PathList([self[i] for i in index.tolist()])


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images in files, decoded when their turn comes.

    Args:
        root: folder that the paths start from.
        paths: one path per image, relative to ``root``.
        labels: (N,) int64.
        upright: turn the images as their EXIF orientation says; see ``alignmixup.data.decode``.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from alignmixup import data
        >>> for path in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png"):
        ...     Path("pictures", path).parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40, 30)).save(Path("pictures", path))
        >>> pictures = data.load("folder", root="pictures", in_memory=False)
        >>> type(pictures.train).__name__, list(pictures.train.paths)
        ('FileSplit', ['train/cat/1.png', 'train/dog/2.png'])
    """

    root: Path
    paths: PathList
    labels: Tensor
    upright: bool = False

    def __post_init__(self) -> None:
        _check_labels(self.labels, len(self.paths))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "FileSplit":
        """The images at ``index`` (int64), in that order."""
        return replace(self, paths=self.paths.select(index), labels=self.labels[index])


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: its two splits and what is known about all its images.

    Args:
        name: the name it was loaded by.
        train: training split.
        test: test split (or the held-out part of the training set).
        class_names: names of the classes, in the order of the labels.
        mean: mean of each channel, in [0, 1] units; its length is the number of channels.
        std: standard deviation of each channel, in [0, 1] units, > 0.
        image_size: side of the square images, in pixels.
        augment: the preset of ``alignmixup.data.transforms.augment`` that suits the set by default.
        test_view: what a test image that is decoded from its file shows of it; see ``TestView``.
        test_only: there are no training images; the set is for testing a network.
        test_crop: share of the scaled sides that the centre of a test image is, in (0, 1]; None for that of
            ``test_view``.
        sources: name and label of each class as the set has them, in its order, where a label map gave other labels.

    Raises:
        ValueError: an empty split, labels outside [0, number of classes), or constants that do not fit.

    Example:
        >>> from alignmixup import data
        >>> digits = data.load("digits")
        >>> digits.image_size, digits.mean, digits.class_names[:2]
        (8, (0.3057,), ('0', '1'))
    """

    name: str
    train: Split | FileSplit
    test: Split | FileSplit
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    augment: str
    test_view: TestView = "center"
    test_only: bool = False
    test_crop: float | None = None
    sources: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        check_constants(self.mean, self.std)
        for which, split in (("training", self.train), ("test", self.test)):
            if len(split) == 0:
                if self.test_only and split is self.train:
                    continue
                raise ValueError(f"{self.name}: the {which} split holds no image")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise ValueError(
                    f"{self.name}: the {which} labels must lie in [0, {self.num_classes}), one for each "
                    f"class name; they range from {low} to {high}"
                )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> list[int]:
        """Number of training images of each class."""
        return torch.bincount(self.train.labels, minlength=self.num_classes).tolist()

    def image_digests(self, *splits: str) -> dict[str, list[str]]:
        """For "training" and "test", or those named, of each class a digest of the names (below the set's folder) and
        sizes of its images, in their order; of splits without files nothing. Wherever the folder lies, and copied, it
        is the same.
        """
        digests = {name: _digests(self._split(name), self.num_classes) for name in splits or ("training", "test")}
        return {name: each for name, each in digests.items() if each}

    def image_files(self, digests: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """`image_digests` of each split in one line, as ``600 images, 1f0c3a...``."""
        return {name: _in_one_line(each, len(self._split(name))) for name, each in digests.items()}

    def _split(self, name: str) -> Split | FileSplit:
        return self.train if name == "training" else self.test

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return len(self.mean)

    @property
    def in_memory(self) -> bool:
        """Whether the training images are held in memory (else they stream from files)."""
        return isinstance(self.train, Split)


def folder_files(folder: Path, paths: Sequence[str]) -> str:
    """`ImageData.image_files` of images of no class, by their ``paths`` below a folder."""
    labels = torch.zeros(len(paths), dtype=torch.int64)
    return _in_one_line(_digests(FileSplit(folder, PathList(paths), labels), 1), len(paths))


def _in_one_line(digests: Sequence[str], count: int) -> str:
    return f"{count} images, {hashlib.sha256(''.join(digests).encode()).hexdigest()[:16]}"


def _digests(split: Split | FileSplit, num_classes: int) -> list[str]:
    root, paths = split.root, split.paths
    if root is None or paths is None:
        return []

    def size(path: str) -> int:
        try:
            return os.stat(root / path).st_size
        except OSError:  # a link that leads nowhere: whoever reads it says so
            return -1

    digests, names = [hashlib.sha256() for _ in range(num_classes)], list(paths)
    blocks = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # a file server takes its time
        sizes = [count for counts in pool.map(lambda block: [size(path) for path in block], blocks) for count in counts]
    for path, label, count in zip(names, split.labels.tolist(), sizes, strict=True):
        digests[label].update(path.encode("utf-8", "surrogateescape") + f"\0{count}\n".encode())
    return [digest.hexdigest()[:16] for digest in digests]


def _check_labels(labels: Tensor, count: int) -> None:
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise ValueError(
            f"labels must be int64 of shape ({count},), one per image, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
