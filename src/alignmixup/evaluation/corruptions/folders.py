"""Released folders of corrupted images: CIFAR-C's arrays and the trees of Tiny-ImageNet-C and ImageNet-C."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup.data.dataset import ImageData, Split
from alignmixup.data.decode import decode_all
from alignmixup.data.splits import hold_out
from alignmixup.files import read_array
from alignmixup.outside import require

_SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True, eq=False)
class ArrayFolder:
    """``KIND.npy``, each uint8 (5 * N, H, H, 3), the severities one after the other, and ``labels.npy``, (N,) five
    times.

    Of a kind and severity ``images`` are read, each class in proportion, chosen by ``seed``; None reads all.
    """

    path: Path
    labels: Tensor
    images: int
    seed: int | None

    def batches(self, kind: str, severity: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, H, H) uint8 and labels (B,)."""
        numpy = require("numpy")
        array = read_array(self.path / f"{kind}.npy", mapped=True)
        first = (severity - 1) * len(self.labels)
        for part in torch.split(_chosen(self.labels, self.images, self.seed), batch_size):
            images = numpy.array(array[(first + part).numpy()])
            yield torch.from_numpy(images).permute(0, 3, 1, 2), self.labels[part]


@dataclass(frozen=True, eq=False)
class TreeFolder:
    """``KIND/SEVERITY/CLASS/IMAGE``; ``classes`` are the CLASS folders, ``class_labels`` their labels.

    Of a kind and severity ``images`` of ``image_size`` pixels a side are read, each class in proportion, chosen by
    ``seed``; None reads all.
    """

    path: Path
    classes: Sequence[str]
    class_labels: Sequence[int]
    image_size: int
    images: int
    seed: int | None

    def batches(self, kind: str, severity: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, H, H) uint8 and labels (B,)."""
        paths, labels = self.list(kind, severity)
        for part in torch.split(_chosen(labels, self.images, self.seed), batch_size):
            chosen = [paths[number] for number in part.tolist()]
            yield decode_all(chosen, self._checked, size=self.image_size, title=kind, progress=False), labels[part]

    def list(self, kind: str, severity: int) -> tuple[list[Path], Tensor]:
        """Files and labels, in the order of the classes; FileNotFoundError where a class is missing or empty."""
        paths: list[Path] = []
        labels: list[int] = []
        for name, label in zip(self.classes, self.class_labels, strict=True):
            place = self.path / kind / str(severity) / name
            found = sorted(p for p in place.iterdir() if p.suffix.lower() in _SUFFIXES) if place.is_dir() else []
            if not found:
                raise FileNotFoundError(
                    f"{place} holds no image: expected KIND/SEVERITY/CLASS/IMAGE below {self.path}, with the "
                    "folders of all classes. Unpack the release again, or choose other corruptions"
                )
            paths += found
            labels += [label] * len(found)
        return paths, torch.tensor(labels)

    def _checked(self, image: Any, path: Path) -> Any:
        if image.size != (self.image_size, self.image_size):
            raise ValueError(f"{path} has {image.size} pixels, expected {self.image_size}x{self.image_size}")
        return image


def open_folder(
    folder: str | Path,
    *,
    like: Split,
    kinds: Sequence[str],
    severities: Sequence[int],
    class_folders: Sequence[str] | None = None,
    class_labels: Sequence[int] | None = None,
    seed: int = 0,
) -> ArrayFolder | TreeFolder:
    """A released folder, checked against the data it is meant to belong to.

    As many images of a kind and severity are read as there are clean ones, if there are so many: each class in
    proportion, chosen by ``seed``.

    It holds files ``KIND.npy`` and ``labels.npy`` (CIFAR-C), or a tree ``KIND/SEVERITY/CLASS/IMAGE`` (Tiny-ImageNet-C,
    ImageNet-C), whose CLASS folders ``class_folders`` names. ``class_labels`` are the labels of the classes of the
    release, in its order or that of ``class_folders``; None for 0, 1, ... ``like``, the clean test
    images, says the size of the images and the labels that may occur; ``kinds`` and ``severities`` will be read.

    Raises:
        FileNotFoundError: the folder, a kind or a class is missing.
        ValueError: shapes, types, numbers or labels that do not fit.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder: unpack CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C there")
    if (path / "labels.npy").is_file():
        return _open_arrays(path, like, kinds, class_labels, seed)
    missing = [kind for kind in kinds if not (path / kind).is_dir()]
    found = sorted(entry.name for entry in path.iterdir())
    if missing:
        raise FileNotFoundError(
            f"{path} has neither labels.npy (CIFAR-C) nor a folder {missing[0]}/ (Tiny-ImageNet-C): give the folder "
            f"that holds the corruptions themselves; it holds {', '.join(found[:20]) or 'nothing'}"
        )
    if class_folders is None:
        raise ValueError(f"{path} is a tree of class folders: pass their names in the order of the labels")
    size, classes = like.images.shape[-1], tuple(class_folders)
    labels = range(len(classes)) if class_labels is None else class_labels
    counts = {
        len(TreeFolder(path, classes, labels, size, 0, None).list(kind, severity)[0])
        for kind in kinds
        for severity in severities
    }
    if len(counts) > 1:
        raise ValueError(f"{path}: {min(counts)} to {max(counts)} images for a kind and severity: unpack it again")
    (count,) = counts
    return TreeFolder(path, classes, labels, size, min(len(like), count), seed if len(like) < count else None)


def class_folders(dataset: ImageData, *, root: str | Path) -> tuple[str, ...]:
    """Names that the classes of a data set have as folders, in the order of its labels, or of its ``sources``.

    Those of Tiny-ImageNet are in its ``wnids.txt``, in the ``root`` that it was loaded from.
    """
    if dataset.name != "tiny-imagenet":
        return tuple(name for name, _ in dataset.sources) or dataset.class_names
    places = (Path(root) / "wnids.txt", Path(root) / "tiny-imagenet-200" / "wnids.txt")
    file = next((place for place in places if place.is_file()), places[1])
    return tuple(file.read_text(encoding="utf-8").split())


def _chosen(labels: Tensor, images: int, seed: int | None) -> Tensor:
    """Places of so many images."""
    return torch.arange(len(labels)) if seed is None else hold_out(labels, images, seed=seed)[1]


def _open_arrays(
    path: Path, like: Split, kinds: Sequence[str], class_labels: Sequence[int] | None, seed: int
) -> ArrayFolder:
    numpy = require("numpy")
    labels = torch.from_numpy(read_array(path / "labels.npy").astype(numpy.int64))
    if labels.dim() != 1 or len(labels) % 5 or not len(labels):
        raise ValueError(f"{path / 'labels.npy'} must hold N labels five times over, its shape is {labels.shape}")
    if class_labels is not None:
        if not 0 <= int(labels.min()) <= int(labels.max()) < len(class_labels):
            raise ValueError(
                f"{path / 'labels.npy'} has labels from {int(labels.min())} to {int(labels.max())} and the data set "
                f"{len(class_labels)} classes: it belongs to another data set"
            )
        labels = torch.tensor(class_labels)[labels]
    rounds = labels.view(5, -1)
    if bool((rounds != rounds[0]).any()):
        raise ValueError(f"{path / 'labels.npy'} must repeat the same labels for each of the five severities")
    lowest, highest = int(like.labels.min()), int(like.labels.max())
    whole = len(like) == rounds.shape[1]  # a part of the test images may lack the last classes
    if lowest < int(rounds.min()) or highest > int(rounds.max()) or (whole and highest != int(rounds.max())):
        raise ValueError(
            f"{path / 'labels.npy'} has labels from {int(rounds.min())} to {int(rounds.max())} and the data set's from "
            f"{lowest} to {highest}: it belongs to another data set"
        )
    side = like.images.shape[-1]
    for kind in kinds:
        file = path / f"{kind}.npy"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: unpack the release again, or choose other corruptions")
        array = read_array(file, mapped=True)
        if array.shape != (len(labels), side, side, 3) or array.dtype != numpy.uint8:
            raise ValueError(
                f"{file} is {array.dtype} {array.shape}, expected uint8 {(len(labels), side, side, 3)}: it must have "
                "the size of the test images and an image for each label"
            )
    count = rounds.shape[1]
    return ArrayFolder(path, rounds[0], min(len(like), count), seed if len(like) < count else None)
