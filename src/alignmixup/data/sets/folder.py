"""Any images in ``SPLIT/CLASS/FILE`` folders, ImageNet among them: in memory if small, else from files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup.data.cache import decoded
from alignmixup.data.dataset import FileSplit, ImageData, PathList, Split, TestView
from alignmixup.data.decode import decode_all, viewed
from alignmixup.data.mean_std import mean_std
from alignmixup.data.sets.listing import IMAGE_SUFFIXES, Passed, Walk, few, near_duplicates, order_classes

__all__ = ["ClassFolders", "compare_classes", "find_test_split", "list_classes", "load_folder"]

_log = logging.getLogger(__name__)
_IN_MEMORY_SIDE = 64
# what others call the splits, in lower case: folders of these names alone are no classes
_SPLIT_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "holdout")
)
_IN_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class ClassFolders:
    """What a folder of class folders holds.

    Args:
        split: name of the folder below the root; "." is the root itself.
        images: for each class, in the order of the labels, the paths of its images, relative to the root.
        passed: what was passed over.
    """

    split: str
    images: dict[str, list[str]]
    passed: Passed

    @property
    def empty(self) -> list[str]:
        """Classes without images."""
        return [name for name, images in self.images.items() if not images]

    def remarks(self) -> list[str]:
        """What is odd, a line each."""
        alike = [" and ".join(map(repr, group)) for group in near_duplicates(self.images)]
        return [
            line if self.split == "." else f"{self.split}: {line}"
            for line in (*self.passed.remarks(), *([f"classes of nearly one name: {few(alike)}"] if alike else ()))
        ]

    def files(self, root: Path, class_names: Sequence[str], *, upright: bool) -> FileSplit:
        """The images with their labels, the places of their classes in ``class_names``."""
        label_of = {name: label for label, name in enumerate(class_names)}
        paths = [path for images in self.images.values() for path in images]
        labels = [label_of[name] for name, images in self.images.items() for _ in images]
        return FileSplit(root, PathList(paths), torch.tensor(labels, dtype=torch.int64), upright)


def load_folder(
    name: str,
    *,
    root: str | Path,
    image_size: int | None = None,
    in_memory: bool | None = None,
    test_split: str | None = None,
    test_view: TestView = "center",
    test_crop: float | None = None,
    test_only: bool = False,
    train_only: bool = False,
    cache: bool = True,
    progress: bool = True,
) -> ImageData:
    """A data set in ``train/CLASS/...`` and ``val/CLASS/...`` (or ``test/CLASS/...``) below ``root``.

    The classes are the folders of ``train``, in the order of their numbers where all names are numbers, else of the
    text; images may lie deeper. Hidden and system files and folders are skipped, and a folder that several links lead
    to is read once; a line says so.

    Arguments are those of ``alignmixup.data.load``:
        - ``name`` is "folder", or "imagenet", whose test split is always ``val`` and whose images are never turned (see
          ``alignmixup.data.image_file``).
        - ``in_memory`` decodes images, those of the training too, as ``test_view`` says, from edge to edge unless
          ``test_crop`` says otherwise; None does so for up to 64 pixels and 2 GiB, the training images counted also
          where ``test_only`` leaves them out.
        - ``test_split``: None for ``test``, or ``val`` where that is absent.
        - ``test_only`` lists no training images. Without ``train`` the classes are the test split's, and without any
          split ``root`` itself holds the class folders.
        - ``train_only``, for a part held out to test on, takes the training images for both splits and wants no test
          split; without any split, ``root`` of "folder" itself holds the class folders.
        - ``cache`` keeps images that are decoded into memory as ``decoded-cache-SIZE.safetensors`` in ``root``.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a class without images, a single class to train on, a test class that is not a training class, one
            folder under two names, damaged images (when streamed: as they are read).
    """
    root = Path(root)
    flat = (
        train_only and name == "folder" and not any((root / split).is_dir() for split in ("train", *_test_names(name)))
    )
    training = "." if flat else "train"
    train = None if test_only else _filled(name, root, list_classes(name, root, training))
    chosen = test_split or (training if train_only else find_test_split(name, root, flat=test_only))
    test = train if train_only and train else _filled(name, root, list_classes(name, root, chosen))
    class_names = tuple(train.images if train else _training_classes(root) or test.images)
    if train and len(class_names) < 2:
        raise ValueError(
            f"{name}: {root / training} holds one class folder, {class_names[0]}: at least two are needed to train; "
            "class folders lie directly below it"
        )
    odd = [line for part in ((test,) if train is test else (train, test)) if part for line in part.remarks()]
    if train and test is not train and (root / "train").samefile(root / chosen):
        odd.append(f"{chosen} and train are one folder: the test images are those of the training")
    for line in odd + compare_classes(name, root, class_names, test):
        _log.warning("%s: %s", root, line)
    upright = name == "folder"
    files = [
        (part or ClassFolders("train", {}, Passed())).files(root, class_names, upright=upright)
        for part in (train, test)
    ]
    if train is test:
        files[1] = files[0]
    size = 224 if image_size is None else image_size
    if in_memory is None:
        most = _IN_MEMORY_BYTES // (3 * size * size) - sum(map(len, files))
        in_memory = size <= _IN_MEMORY_SIDE and most >= 0
        if in_memory and test_only and (root / "train").is_dir():  # a test image is shown as it was in training
            in_memory = _holds_at_most(most, name, root, "train")
    how = "decoded into memory" if in_memory else "read from files"
    testing = "a part of them to test on" if train is test else f"{len(files[1])} for testing ({chosen})"
    _log.info("%s: %d training images, %s, %s", name, len(files[0]), testing, how)
    splits: Sequence[Split | FileSplit] = files
    if in_memory:
        splits = _decode(name, files[0], files[1], size, view=test_view, crop=test_crop, cache=cache, progress=progress)
    mean, std = mean_std("imagenet", channels=3)
    augment = "resized_crop_flip"
    return ImageData(name, splits[0], splits[1], class_names, mean, std, size, augment, test_view, test_only, test_crop)


def list_classes(name: str, root: Path, split: str) -> ClassFolders:
    """The class folders in ``root / split`` and their images.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no class folder, or one under two names; the folders are splits, or hold them.
    """
    folder, expected = root / split, "CLASS/IMAGE" if split == "." else f"{split}/CLASS/IMAGE"
    if not folder.is_dir():
        way_out = f"Set root to the folder that holds train/, or make {split}/"
        if split == ".":
            way_out = "Set root to the folder that holds the class folders; of a run, with --root DIR"
        if split == "train":
            way_out += "; only to test a network, load them with test_only=True"
        raise FileNotFoundError(f"{name}: {folder} is missing: expected {expected} below {root}. {way_out}")
    walk = _walk(name, root)
    names = order_classes(walk.folders(folder))
    if not names:
        raise ValueError(f"{name}: {folder} holds no class folder: expected {expected}")
    if split == ".":
        _check_flat(name, root, names)
    return ClassFolders(split, {each: walk.images(folder / each) for each in names}, walk.passed)


def _holds_at_most(most: int, name: str, root: Path, split: str) -> bool:
    """Whether a split has no more images than ``most``; a million are not listed for it."""
    walk = _walk(name, root)
    for each in walk.folders(root / split):
        most -= len(walk.images(root / split / each))
        if most < 0:
            return False
    return True


def _walk(name: str, root: Path) -> Walk:
    return Walk(root, closed=[root / other for other in ("train", *_test_names(name)) if (root / other).is_dir()])


def _check_flat(name: str, root: Path, names: Sequence[str]) -> None:
    """Refuse splits of other names, and folders of splits, where they would be taken for classes."""
    if all(each.lower() in _SPLIT_NAMES for each in names):
        raise ValueError(
            f"{name}: {root} holds {few(names)}, which would be the classes: rename them train and "
            f"{' or '.join(_test_names(name))}"
        )
    if len(names) == 1 and {"train", *_test_names(name)} & set(Walk(root).folders(inner := root / names[0])):
        raise ValueError(f"{name}: {inner} holds the splits: set root to it")


def find_test_split(name: str, root: Path, *, flat: bool = False) -> str:
    """The folder of the test images, below ``root``; ``flat`` lets it be ``root`` itself ("."), where there is none.

    Raises:
        FileNotFoundError: there is none.
    """
    wanted = _test_names(name)
    for split in wanted:
        if (root / split).is_dir():
            return split
    if flat:
        return "."
    raise FileNotFoundError(
        f"{name}: {root} holds train/ and no test split: expected {' or '.join(wanted)}/CLASS/IMAGE. Make one, "
        "or name another folder in test_split"
    )


def compare_classes(name: str, root: Path, class_names: Sequence[str], test: ClassFolders) -> list[str]:
    """What is odd about the classes of a test split beside those of the training split, a line each.

    Raises:
        ValueError: test classes that are no training classes.
    """
    unknown = [each for each in test.images if each not in class_names]
    if unknown:
        pairs = [pair for pair in near_duplicates([*class_names, *unknown]) if pair[-1] in unknown]
        hint = f"; nearly one name have {few([' and '.join(map(repr, pair)) for pair in pairs])}" if pairs else ""
        raise ValueError(
            f"{name}: {root / test.split} has {len(unknown)} classes that train/ lacks ({few(unknown)}); the "
            f"folders of both must have the same names{hint}"
        )
    missing = [each for each in class_names if each not in test.images]
    return [f"{test.split}: no images of {len(missing)} classes of train ({few(missing)})"] if missing else []


def _test_names(name: str) -> tuple[str, ...]:
    # ImageNet's own test folder has no labels
    return ("val",) if name == "imagenet" else ("test", "val", "valid", "validation")


def _training_classes(root: Path) -> list[str]:
    folder = root / "train"
    return order_classes(Walk(root).folders(folder)) if folder.is_dir() else []


def _filled(name: str, root: Path, found: ClassFolders) -> ClassFolders:
    if found.empty:
        first, others = found.empty[0], found.empty[1:]
        more = f" ({len(others)} more classes are empty: {few(others)})" if others else ""
        raise ValueError(
            f"{name}: {root / found.split / first} holds no image ({', '.join(IMAGE_SUFFIXES)}): fill or remove "
            f"it{more}"
        )
    return found


def _decode(
    name: str,
    train: FileSplit,
    test: FileSplit,
    size: int,
    *,
    view: TestView,
    crop: float | None,
    cache: bool,
    progress: bool,
) -> tuple[Split, Split]:
    root = train.root
    parts = (train,) if test is train else (train, test)
    paths = [root / path for split in parts for path in split.paths]
    shown, suffix = ("centre", "") if view == "center" else (view, f"-{view}")
    suffix += "-test" if not len(train) else "-train" if test is train else ""
    upright = test.upright

    def scaled(image: Any, _: Path) -> Any:
        return viewed(image, size, view, 1.0 if crop is None else crop)

    def decode() -> Tensor:
        return decode_all(paths, scaled, size=size, title=name, progress=progress, upright=upright)

    file = f"decoded-cache-{size}{suffix}.safetensors" if cache else None
    settings = f"{shown} {size} {'upright' if upright else 'as stored'}" + (f" {crop}" if crop else "")
    images, count = decoded(paths, decode, root=root, file=file, settings=settings), len(train)
    first = Split(images[:count], train.labels, paths=train.paths, upright=upright, root=train.root)
    if test is train:
        return first, first
    return first, Split(images[count:], test.labels, paths=test.paths, upright=upright, root=test.root)
