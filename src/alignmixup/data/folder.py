"""Any images in ``SPLIT/CLASS/FILE`` folders, ImageNet among them: in memory if small, else from files."""

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.data.cache import cached, fingerprint
from alignmixup.data.dataset import FileSplit, ImageData, PathList, Split, TestView
from alignmixup.data.decode import decode_all, scaled_center, scaled_whole
from alignmixup.data.normalization import normalization

__all__ = ["load_folder"]

_log = logging.getLogger(__name__)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")
_IN_MEMORY_SIDE = 64
_IN_MEMORY_BYTES = 2 << 30


def load_folder(
    name: str,
    *,
    root: str | Path,
    image_size: int | None = None,
    in_memory: bool | None = None,
    test_split: str | None = None,
    test_view: TestView = "center",
    cache: bool = True,
    progress: bool = True,
) -> ImageData:
    """A data set in ``train/CLASS/...`` and ``val/CLASS/...`` (or ``test/CLASS/...``) below ``root``.

    The classes are the folders of ``train``, in alphabetical order; images may lie deeper.

    Args:
        name: "folder", or "imagenet" whose test split is always ``val``.
        root: the folder that holds ``train``.
        image_size: side of the (square) images; None for 224.
        in_memory: decode everything at the start, centre-cropped (or whole, with ``test_view="whole"``); None does
            so for up to 64 pixels and 2 GiB.
        test_split: folder used as test split; None for ``test``, or ``val`` where that is absent.
        test_view: what a test image shows of its file; see ``alignmixup.data.dataset.TestView``.
        cache: keep images decoded into memory as ``decoded-cache-SIZE.safetensors`` in ``root``.
        progress: show a bar while decoding.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a class without images, a test class that is not a training class, a damaged image (when
            streamed: as it is read).
    """
    root = Path(root)
    class_names, train = _list_split(name, root, "train", None)
    chosen = test_split or _test_split(name, root)
    _, test = _list_split(name, root, chosen, class_names)
    size = 224 if image_size is None else image_size
    if in_memory is None:
        total = (len(train) + len(test)) * 3 * size * size
        in_memory = size <= _IN_MEMORY_SIDE and total <= _IN_MEMORY_BYTES
    _log.info(
        "%s: %d training images, %d for testing (%s), %s",
        name,
        len(train),
        len(test),
        chosen,
        "decoded into memory" if in_memory else "read from files",
    )
    splits: tuple[Split | FileSplit, Split | FileSplit] = (train, test)
    if in_memory:
        splits = _decode(name, train, test, size, whole=test_view == "whole", cache=cache, progress=progress)
    mean, std = normalization("imagenet", channels=3)
    return ImageData(
        name=name,
        train=splits[0],
        test=splits[1],
        class_names=class_names,
        mean=mean,
        std=std,
        image_size=size,
        augment="resized_crop_flip",
        test_view=test_view,
    )


def _test_split(name: str, root: Path) -> str:
    # ImageNet's own test folder has no labels
    wanted = ("val",) if name == "imagenet" else ("test", "val", "valid", "validation")
    for split in wanted:
        if (root / split).is_dir():
            return split
    raise FileNotFoundError(
        f"{name}: {root} holds train/ and no test split: expected {' or '.join(wanted)}/CLASS/IMAGE. Make one, "
        "or name another folder in test_split"
    )


def _list_split(
    name: str, root: Path, split: str, class_names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], FileSplit]:
    """The classes (those given, or the folders found) and the images of one split."""
    folder = root / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{name}: {folder} is missing: expected {split}/CLASS/IMAGE below {root}. Set root to the folder "
            f"that holds train/, or make {split}/"
        )
    found = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()))
    if not found:
        raise ValueError(f"{name}: {folder} holds no class folder: expected {split}/CLASS/IMAGE")
    if class_names is not None and not set(found) <= set(class_names):
        unknown = sorted(set(found) - set(class_names))
        raise ValueError(
            f"{name}: {folder} has {len(unknown)} classes that train/ lacks ({', '.join(unknown[:5])}); the "
            "folders of both must have the same names"
        )
    label_of = {class_name: label for label, class_name in enumerate(class_names or found)}
    paths: list[str] = []
    labels: list[int] = []
    for class_name in found:
        images = _list_images(folder / class_name, root)
        if not images:
            suffixes = ", ".join(_SUFFIXES)
            raise ValueError(f"{name}: {folder / class_name} holds no image ({suffixes}): fill or remove it")
        paths += images
        labels += [label_of[class_name]] * len(images)
    return class_names or found, FileSplit(root, PathList(paths), torch.tensor(labels))


def _list_images(folder: Path, root: Path) -> list[str]:
    names = []
    for place, _, files in os.walk(folder, followlinks=True):
        start = os.path.relpath(place, root)
        names += [os.path.join(start, file) for file in files if file.lower().endswith(_SUFFIXES)]
    return sorted(names)


def _decode(
    name: str, train: FileSplit, test: FileSplit, size: int, *, whole: bool, cache: bool, progress: bool
) -> tuple[Split, Split]:
    root = train.root
    paths: Sequence[Path] = [root / path for split in (train, test) for path in split.paths]
    prepare = functools.partial(_prepared, size=size, whole=whole)
    view, suffix = ("whole", "-whole") if whole else ("centre", "")

    def decode() -> dict[str, Tensor]:
        return {"images": decode_all(paths, prepare, size=size, title=name, progress=progress)}

    if cache:
        key = fingerprint(paths, root=root, settings=f"{view} {size}")
        images = cached(root / f"decoded-cache-{size}{suffix}.safetensors", key, decode)["images"]
    else:
        images = decode()["images"]
    count = len(train)
    return (
        Split(images[:count], train.labels, paths=train.paths),
        Split(images[count:], test.labels, paths=test.paths),
    )


def _prepared(image: object, _path: Path, *, size: int, whole: bool) -> object:
    return scaled_whole(image, size) if whole else scaled_center(image, size)
