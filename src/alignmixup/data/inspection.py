"""What a folder of images holds and what is odd in it, before anything is trained on it."""

import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignmixup.data.image_file import describe_image
from alignmixup.data.sets.folder import ClassFolders, find_test_split, list_classes
from alignmixup.data.sets.listing import Passed, few, near_duplicates

__all__ = ["FolderReport", "SplitReport", "inspect_folder"]

_UNBALANCED = 10  # times as many images in the largest class as in the smallest are worth a line


@dataclass(frozen=True)
class SplitReport:
    """One folder of class folders.

    Args:
        split: its name below the root; "." is the root itself.
        counts: images of each class, in the order of the labels.
        passed: what was passed over.
    """

    split: str
    counts: dict[str, int]
    passed: Passed

    def remarks(self) -> list[str]:
        """What is odd, a line each."""
        lines, filled = [], [count for count in self.counts.values() if count]
        empty = [name for name, count in self.counts.items() if not count]
        if empty:
            lines.append(f"{len(empty)} classes without images ({few(empty)})")
        if filled and max(filled) > _UNBALANCED * min(filled):
            lines.append(f"from {min(filled)} to {max(filled)} images a class")
        lines += self.passed.remarks()
        return lines if self.split == "." else [f"{self.split}: {line}" for line in lines]


@dataclass(frozen=True)
class FolderReport:
    """What ``inspect_folder`` found. Paths are relative to ``root``.

    Args:
        root: the folder.
        splits: what lies where; the first one numbers the classes.
        widths: smallest, median and largest width of the upright images; None where there is no image.
        heights: the same of their heights.
        modes: images by Pillow's mode (RGB, L, I;16...), those that cannot be used among them.
        formats: images by format, whatever their names end with.
        turned: images whose EXIF orientation turns them.
        frames: images of which only the first of several frames counts.
        alpha: images whose transparency is left out.
        dark: images that are nearly black throughout.
        unreadable: path and reason of each image that cannot be used.
        copies: paths of images that are one, pixel by pixel: under "classes" those that lie in several classes, under
            "splits" others that lie in several splits, under "images" those in one class of one split.
        near_duplicates: classes whose names differ only in case, spaces and the like.
        missing: for each further split, the classes that it lacks.
        unknown: for each further split, its classes that the first one lacks.
    """

    root: Path
    splits: tuple[SplitReport, ...]
    widths: tuple[int, float, int] | None = None
    heights: tuple[int, float, int] | None = None
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    frames: int = 0
    alpha: int = 0
    dark: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    copies: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    near_duplicates: list[tuple[str, ...]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """Images in all splits."""
        return sum(sum(split.counts.values()) for split in self.splits)

    def remarks(self) -> list[str]:
        """What is odd, a line each, the worst first."""
        first, lines = self.splits[0].split, []
        if self.unreadable:
            paths = few([path for path, _ in self.unreadable])
            reason = self.unreadable[0][1]
            lines.append(f"{len(self.unreadable)} of {self.num_images} images cannot be used ({paths}): {reason}")
        for kind, what in (
            ("classes", "lie in several classes"),
            ("splits", "are there to train on and to test on"),
            ("images", "are there more than once, and a part held out to test on may share them"),
        ):
            if groups := self.copies.get(kind):
                lines.append(f"{len(groups)} images {what} ({few([' = '.join(group) for group in groups], 2)})")
        for split, names in self.unknown.items():
            lines.append(f"{split}: {len(names)} classes that {first} lacks ({few(names)})")
        for split, names in self.missing.items():
            lines.append(f"{split}: no images of {len(names)} classes of {first} ({few(names)})")
        lines += [f"classes of nearly one name: {' and '.join(map(repr, group))}" for group in self.near_duplicates]
        lines += [line for split in self.splits for line in split.remarks()]
        for count, what in (
            (self.turned, "images are turned as their EXIF orientation says"),
            (self.frames, "images have several frames, of which the first counts"),
            (self.alpha, "images are transparent in places: the colours below count"),
            (self.dark, "images are nearly black, as 12 bits in a file of 16 are, or labels in place of colours"),
        ):
            if count:
                lines.append(f"{count} {what}")
        return lines


def inspect_folder(
    root: str | Path,
    *,
    test_split: str | None = None,
    follow: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
    limit: int | None = None,
) -> FolderReport:
    """Look at all images below ``root``, as ``data.load("folder", ...)`` takes them.

    They are in ``train`` and a test split, in one of these alone, or ``root`` itself is a folder of class folders.
    Every image is decoded, since only that finds damage; ``limit`` looks at so many evenly spaced ones instead.
    ``follow`` wraps the results as they come, of which there will be so many: for a progress bar.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no class folder, or one under two names.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder: expected train/CLASS/IMAGE, or CLASS/IMAGE, below it")
    test = test_split or find_test_split("folder", root, flat=True)
    wanted = ["train", test] if (root / "train").is_dir() else [test]
    if wanted == ["train", "."]:
        wanted = ["train"]
    found = [list_classes("folder", root, split) for split in wanted]
    first, others = found[0], found[1:]
    paths = [path for part in found for images in part.images.values() for path in images]
    if limit is not None and len(paths) > limit:
        paths = [paths[place * len(paths) // limit] for place in range(limit)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results: Iterable[Any] = pool.map(lambda path: _look(root, path), paths)
        looks = list(follow(results, len(paths)) if follow else results)
    readable = [look for look in looks if not isinstance(look, str)]
    place = {path: (part.split, name) for part in found for name, images in part.images.items() for path in images}
    names = dict.fromkeys(name for part in found for name in part.images)
    return FolderReport(
        root,
        tuple(
            SplitReport(part.split, {name: len(part.images[name]) for name in part.images}, part.passed)
            for part in found
        ),
        widths=_spread([look.size[0] for look in readable]),
        heights=_spread([look.size[1] for look in readable]),
        modes=Counter(look.mode for look in readable),
        formats=Counter(look.format for look in readable),
        turned=sum(look.turned for look in readable),
        frames=sum(look.frames > 1 for look in readable),
        alpha=sum(look.alpha for look in readable),
        dark=sum(look.dark for look in readable),
        unreadable=[(path, look) for path, look in zip(paths, looks, strict=True) if isinstance(look, str)],
        copies=_copies(zip(paths, looks, strict=True), place),
        near_duplicates=near_duplicates(names),
        missing=_differing(others, lambda part: [name for name in first.images if name not in part.images]),
        unknown=_differing(others, lambda part: [name for name in part.images if name not in first.images]),
    )


def _look(root: Path, path: str) -> Any:
    """What is known of an image, or why it cannot be used."""
    try:
        return describe_image(root / path)
    except (ValueError, FileNotFoundError) as error:
        return str(error)


def _copies(looks: Iterable[tuple[str, Any]], place: Mapping[str, tuple[str, str]]) -> dict[str, list[tuple[str, ...]]]:
    """See ``FolderReport``; ``place`` is the split and the class of each path."""
    alike: dict[bytes, list[str]] = {}
    for path, look in looks:
        if not isinstance(look, str):
            alike.setdefault(look.digest, []).append(path)
    copies: dict[str, list[tuple[str, ...]]] = {}
    for group in alike.values():
        if len(group) > 1:
            splits, classes = (len(set(values)) > 1 for values in zip(*(place[path] for path in group), strict=True))
            copies.setdefault("classes" if classes else "splits" if splits else "images", []).append(tuple(group))
    return copies


def _spread(values: Sequence[int]) -> tuple[int, float, int] | None:
    return (min(values), statistics.median(values), max(values)) if values else None


def _differing(parts: Sequence[ClassFolders], names: Callable[[ClassFolders], list[str]]) -> dict[str, list[str]]:
    return {part.split: found for part in parts if (found := names(part))}
