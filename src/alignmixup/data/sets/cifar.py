"""CIFAR-10 and CIFAR-100 from the official batches, read without running what a pickle may contain."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup.data.dataset import ImageData, Split
from alignmixup.data.mean_std import mean_std
from alignmixup.data.sets.plain_pickle import load_plain
from alignmixup.data.transforms.resize import resize
from alignmixup.outside import require

__all__ = ["load_cifar", "read_batch"]


@dataclass(frozen=True)
class _Release:
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    prefix: str
    num_classes: int

    @property
    def labels_key(self) -> str:
        return f"{self.prefix}labels"

    @property
    def names_key(self) -> str:
        return f"{self.prefix}label_names"


_FIVE = tuple(f"data_batch_{i}" for i in range(1, 6))
_RELEASES = {
    "cifar10": _Release("cifar-10-batches-py", _FIVE, "test_batch", "batches.meta", prefix="", num_classes=10),
    "cifar100": _Release("cifar-100-python", ("train",), "test", "meta", prefix="fine_", num_classes=100),
}


def load_cifar(name: str, *, root: str | Path, download: bool = False, image_size: int | None = None) -> ImageData:
    """CIFAR-10 or CIFAR-100 ("cifar10", "cifar100"); arguments are those of ``alignmixup.data.load``.

    Any order of the images and any number of them is accepted, as long as every file is consistent in itself.

    Raises:
        FileNotFoundError: the folder or one of its files is missing, or could not be downloaded.
        ValueError: a file is damaged.
    """
    release = _RELEASES[name]
    folder = Path(root) / release.folder
    if not folder.is_dir():
        if not download:
            raise FileNotFoundError(
                f"{name} is not at {folder}: expected the official python version (files "
                f"{release.train[0]}, {release.test}, {release.meta}...). Set data.download=true, or unpack "
                "it there from https://www.cs.toronto.edu/~kriz/cifar.html"
            )
        _download(name, Path(root))
    batches = [_read_split(folder / file, release) for file in release.train]
    train = Split(torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches]))
    test = Split(*_read_split(folder / release.test, release))
    size = image_size or 32
    train, test = (replace(split, images=resize(split.images, size)) for split in (train, test))
    names, constants = _read_names(folder / release.meta, release), mean_std("cifar10", channels=3)
    return ImageData(name, train, test, names, *constants, size, "crop4_flip")


def read_batch(path: Path) -> dict[str, Any]:
    """The dictionary that one file of the release holds.

    A foreign file can neither run code nor crash the process: see ``alignmixup.data.sets.plain_pickle``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, garbled, or not such a dictionary.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the folder {path.parent} is incomplete. Unpack the release again, or remove "
            "the folder and set download=True (data.download=true)"
        )
    try:
        content = load_plain(path.read_bytes())
    except Exception as error:  # damaged pickles raise nearly anything, from EOFError to MemoryError
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds a {type(content).__name__}, expected a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def _read_split(path: Path, release: _Release) -> tuple[Tensor, Tensor]:
    numpy = require("numpy")
    content = read_batch(path)
    missing = [key for key in ("data", release.labels_key) if key not in content]
    if missing:
        raise _damaged(path, f"no entry {missing[0]!r}, found {sorted(content)}")
    pixels, labels = content["data"], content[release.labels_key]
    if not isinstance(pixels, numpy.ndarray) or pixels.dtype != numpy.uint8 or pixels.shape[1:] != (3072,):
        shape = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, numpy.ndarray) else type(pixels).__name__
        raise _damaged(path, f"'data' is {shape}, expected uint8 (N, 3072)")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise _damaged(path, f"{release.labels_key!r} is not a list of integers")
    if len(labels) != len(pixels) or not labels:
        raise _damaged(path, f"{len(pixels)} images and {len(labels)} labels")
    if min(labels) < 0 or max(labels) >= release.num_classes:
        found = f"{min(labels)} to {max(labels)}"
        raise _damaged(path, f"labels from {found}, expected 0 to {release.num_classes - 1}")
    images = torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy())
    return images, torch.tensor(labels, dtype=torch.int64)


def _read_names(path: Path, release: _Release) -> tuple[str, ...]:
    names = read_batch(path).get(release.names_key)
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        names = []
    if len(names) != release.num_classes:
        count = len(names) or "no"
        raise _damaged(path, f"{count} {release.names_key}, expected {release.num_classes}")
    return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} ({path.stat().st_size} bytes) is not a batch of the official python version: {reason.rstrip('.')}. "
        f"Unpack the release again, or remove {path.parent} and set download=True (data.download=true)"
    )


def _download(name: str, root: Path) -> None:
    release, datasets = _RELEASES[name], require("torchvision.datasets")
    root.mkdir(parents=True, exist_ok=True)
    # unpacked elsewhere and renamed: an interrupted download leaves no folder that looks complete
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as scratch:
        try:
            getattr(datasets, name.upper())(scratch, download=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"{release.folder} could not be downloaded ({type(error).__name__}: {error}). Fetch the "
                "python version from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it as "
                f"{root / release.folder}"
            ) from error
        os.rename(Path(scratch) / release.folder, root / release.folder)
