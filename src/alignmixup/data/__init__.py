"""Data sets by name, and loaders of augmented, normalised batches."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os.path import isdir
from pathlib import Path
from typing import Any, get_args

import torch

from alignmixup.data.dataset import FileSplit, ImageData, Split, TestView
from alignmixup.data.loaders import BatchLoader, Loader, NoLoader
from alignmixup.data.mean_std import mean_std
from alignmixup.data.memory import check_memory
from alignmixup.data.sets.cifar import load_cifar
from alignmixup.data.sets.cub import load_cub
from alignmixup.data.sets.digits import load_digits
from alignmixup.data.sets.folder import load_folder
from alignmixup.data.sets.listing import few
from alignmixup.data.sets.tiny_imagenet import load_tiny_imagenet
from alignmixup.data.splits import check_thinning, first_per_class, hold_out, long_tailed
from alignmixup.data.streaming import StreamLoader
from alignmixup.data.transforms.augment import Augment, preset
from alignmixup.near import near

__all__ = [
    "Augment",
    "BatchLoader",
    "FileSplit",
    "ImageData",
    "Loader",
    "Split",
    "StreamLoader",
    "TestView",
    "available",
    "build_loaders",
    "load",
]

_LOADERS: dict[str, Callable[..., ImageData]] = {  # each takes those options of ``load`` that mean something for it
    "digits": load_digits,
    "cifar10": partial(load_cifar, "cifar10"),
    "cifar100": partial(load_cifar, "cifar100"),
    "tiny-imagenet": load_tiny_imagenet,
    "cub": load_cub,
    "imagenet": partial(load_folder, "imagenet"),
    "folder": partial(load_folder, "folder"),
}
VALIDATION_SEED = 21  # of the choice of held-out training images: the same for every run


def available() -> tuple[str, ...]:
    """Names that ``load`` accepts.

    Example:
        >>> from alignmixup import data
        >>> data.available()
        ('digits', 'cifar10', 'cifar100', 'tiny-imagenet', 'cub', 'imagenet', 'folder')
    """
    return tuple(_LOADERS)


def load(
    name: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    subset: int | None = None,
    imbalance: float = 1.0,
    validation: int | float | None = None,
    normalization: str | None = None,
    in_memory: bool | None = None,
    test_split: str | None = None,
    test_view: TestView | None = None,
    test_crop: float | None = None,
    test_only: bool = False,
    cache: bool = True,
    progress: bool = True,
) -> ImageData:
    """A data set with a training and a test split.

    Args:
        name: one of ``available()``.
        root: folder that holds the data; digits need none.
        download: fetch CIFAR through torchvision where it is absent.
        image_size: side of the square images; None for the set's own (8, 32, 64; 224 for folders and cub).
        subset: keep the first so many images of each class of the training split.
        imbalance: keep ever fewer images from the first class of the training split to the last, which has so many
            times fewer: the "long-tailed" sets (see ``alignmixup.data.splits.long_tailed``); 1 keeps all. Of those
            that ``subset`` leaves; test images stay.
        validation: hold out so many training images (or that fraction), in proportion to the classes and
            always the same ones, and use them in place of the test split. Drawn before ``subset`` and ``imbalance``.
        normalization: a name in ``alignmixup.data.mean_std``; None for the set's default, which is the
            AlignMixup repository's (its CIFAR-10 constants for CIFAR-100 and Tiny-ImageNet too).
        in_memory: cub, imagenet and folder: decode everything at the start; None decides by size (cub: no).
        test_split: imagenet and folder: name of the test folder.
        test_view: cub, imagenet and folder: what a test image shows of its file, "center", "squeezed_center" or "whole"
            (see ``alignmixup.data.dataset.TestView``); None for "center", or cub's "squeezed_center".
        test_crop: imagenet and folder: share of the scaled sides that the centre of a test image is, in (0, 1]; None
            for 224 / 256, and for 1 where images are decoded into memory.
        test_only: the test images are all that is wanted: imagenet and folder need no ``train`` then (see
            ``alignmixup.data.sets.folder.load_folder``); other sets are loaded whole.
        cache: keep decoded images on disk, beside the data.
        progress: show a bar while decoding.

    Raises:
        FileNotFoundError: data that are missing; the message says what was expected and how to get it.
        ValueError: damaged data, an unknown name, an option out of range or without meaning for this set.
        ImportError: a package of the ``train`` extra is not installed.

    Example:
        >>> from alignmixup import data
        >>> digits = data.load("digits")
        >>> len(digits.train), len(digits.test), digits.num_classes
        (899, 898, 10)
    """
    check_thinning(subset=subset, imbalance=imbalance)
    if test_only and validation is not None:
        raise ValueError(
            f"validation={validation} holds out training images, which test_only=True leaves out: choose one"
        )
    chosen: dict[str, Any] = {
        "in_memory": in_memory,
        "test_split": test_split,
        "test_view": test_view,
        "test_crop": test_crop,
    }
    chosen = {key: value for key, value in chosen.items() if value is not None}
    _check(name, image_size, chosen)
    options = {"root": root, "download": download, "image_size": image_size, "test_only": test_only}
    options |= {"cache": cache, "progress": progress, "train_only": validation is not None, **chosen}
    dataset = _LOADERS[name](**{key: value for key, value in options.items() if _takes(name, key)})
    if normalization is not None:
        mean, std = mean_std(normalization, channels=dataset.channels)
        dataset = replace(dataset, mean=mean, std=std)
    return _chosen(dataset, subset=subset, imbalance=imbalance, validation=validation)


def build_loaders(
    dataset: ImageData,
    *,
    batch_size: int,
    eval_batch_size: int | None = None,
    augment: str | Augment | None = "default",
    seed: int = 0,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    channels_last: bool = False,
    on_device: bool | None = None,
    workers: int | None = None,
) -> tuple[Loader, Loader]:
    """The training and the test loader of a data set, whether it is in memory or in files.

    Training batches are shuffled and augmented, and all processes get equally many images. Test batches are
    neither, and each image comes exactly once over all processes: add up the counts of all processes after
    the last batch, without communication in between, since one process may have a batch more than another.

    ``augment`` is "default" for the set's own, a name in ``alignmixup.data.transforms.augment``, either of them with a
    policy ("default+trivialaugment"), an ``Augment``, or None; ``eval_batch_size`` None is ``batch_size``. The other
    options are those of ``EpochLoader``, of ``BatchLoader`` for sets in memory (``on_device``) and of ``StreamLoader``
    for sets in files (``workers``).

    Raises:
        ValueError: an unknown preset, a value out of range, or a batch that this machine's memory cannot hold; while
            iterating, the training loader of a set that was loaded with ``test_only``.

    Example:
        >>> from alignmixup import data
        >>> train, test = data.build_loaders(data.load("digits"), batch_size=50)
        >>> x, y = next(iter(train))
        >>> x.shape, y.shape, len(train)
        (torch.Size([50, 1, 8, 8]), torch.Size([50]), 18)
    """
    if isinstance(augment, str):
        name, plus, policy = augment.partition("+")
        augment = preset((dataset.augment if name == "default" else name) + plus + policy)

    def loader(split: Split | FileSplit, size: int, chosen: Augment | None, *, training: bool) -> Loader:
        common: dict[str, Any] = {"batch_size": size, "augment": chosen, "seed": seed}
        common |= {"mean": dataset.mean, "std": dataset.std, "device": device, "channels_last": channels_last}
        common |= {"image_size": dataset.image_size, "rank": rank, "world_size": world_size}
        common |= {"shuffle": training, "drop_last": training and drop_last, "equal_shards": training}
        if isinstance(split, Split):
            return BatchLoader(split, on_device=on_device, **common)
        return StreamLoader(split, workers=workers, view=dataset.test_view, crop=dataset.test_crop, **common)

    eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
    check_memory(max(batch_size, eval_batch_size), dataset.channels, dataset.image_size, bytes_each=4)
    train: Loader
    if dataset.test_only:
        train = NoLoader(dataset.name)
    else:
        train = loader(dataset.train, batch_size, augment, training=True)
    return train, loader(dataset.test, eval_batch_size, None, training=False)


def _takes(name: str, option: str) -> bool:
    return option in inspect.signature(_LOADERS[name]).parameters


def _check(name: str, image_size: int | None, chosen: dict[str, Any]) -> None:
    if name not in _LOADERS:
        way_out = f"a folder of images is the data set folder with root {name}; " if name and isdir(name) else ""
        raise ValueError(f"unknown data set {name!r}; {way_out}{near(name, _LOADERS)}")
    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise ValueError(f"image_size must be an integer >= 1, got {image_size!r}")
    if chosen.get("test_view", "center") not in get_args(TestView):
        raise ValueError(f"test_view must be one of {', '.join(get_args(TestView))}, got {chosen['test_view']!r}")
    if not 0 < chosen.get("test_crop", 1) <= 1:
        raise ValueError(f"test_crop must be in (0, 1], got {chosen['test_crop']!r}")
    for key in chosen:
        if not _takes(name, key):
            known = ", ".join(other for other in _LOADERS if _takes(other, key))
            raise ValueError(f"{key} is an option of {known}: leave it out for {name}")


def _chosen(dataset: ImageData, *, subset: int | None, imbalance: float, validation: int | float | None) -> ImageData:
    train, test = dataset.train, dataset.test
    if validation is not None:
        kept, held = hold_out(train.labels, validation, seed=VALIDATION_SEED)
        if lost := sorted({*train.labels.tolist()} - {*train.labels[kept].tolist()}):
            names = few([dataset.class_names[label] for label in lost], 3)
            raise ValueError(
                f"validation={validation} leaves no training image of {len(lost)} classes ({names}): hold out fewer, "
                "or add images of these"
            )
        train, test = train.select(kept), train.select(held)
    if subset is not None and not dataset.test_only:
        train = train.select(first_per_class(train.labels, subset))
    if imbalance != 1 and not dataset.test_only:
        train = train.select(long_tailed(train.labels, imbalance, num_classes=dataset.num_classes))
    return replace(dataset, train=train, test=test)
