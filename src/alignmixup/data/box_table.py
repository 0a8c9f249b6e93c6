"""Boxes by image path, as the annotation files of a data set state them, before they are matched with its images."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignmixup.data.sets.listing import few

__all__ = ["Box", "BoxTable", "clean_path", "corners", "whole_numbers"]

Box = tuple[int, int, int, int]
_TOO_LARGE = 2**31


@dataclass(frozen=True)
class BoxTable:
    """The boxes of some images.

    Args:
        source: file or folder that they come from, for messages.
        boxes: path of each image -> its boxes (x0, y0, x1, y1), in original pixels.
        sizes: path of each image -> its original width and height, where the source states them.
        complete: every image it names must exist (otherwise it may hold more than the data set at hand).
        lines: path of each image -> the lines of ``source`` that its boxes stand in, where it is a file of lines.
    """

    source: Path
    boxes: Mapping[str, Sequence[Box]]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    complete: bool = False
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def place(self, key: str, number: int) -> str:
        """Where box ``number`` of an image stands, for messages."""
        return f"{self.source}, line {self.lines[key][number]}" if key in self.lines else f"{self.source}"

    def match(self, paths: Sequence[str], root: Path, others: Sequence[str] = ()) -> list[str]:
        """The key of each image in this table: its path, or that without leading folders, or that with more of them.

        A key may leave folders out where it can mean one image of ``paths`` only: the flat release's ``val/x.JPEG`` is
        ``val/n01440764/x.JPEG`` of an image folder, if there is no other ``x.JPEG``, among ``others`` neither: images
        of the data set that no box is wanted of. Paths are relative to ``root``.

        Raises:
            ValueError: a name that means several images, or an image that several names mean; images without a box;
                images that exist only in a table that should be complete.
        """
        cleaned = [clean_path(path) for path in paths]
        keys = [next((end for end in _ends(path) if end in self.boxes), None) for path in cleaned]
        meant: dict[str, list[str]] = {}  # images by a name that leaves out folders
        for path, clean, key in zip(paths, cleaned, keys, strict=True):
            if key not in (None, clean):
                meant.setdefault(str(key), []).append(path)
        short = set(map(_name, meant))
        for other in others if meant else ():
            if _name(other) in short:
                key = next((end for end in _ends(clean_path(other)) if end in self.boxes), None)
                if key in meant:
                    meant[key].append(other)
        for key, images in meant.items():
            if len(images) > 1:
                raise ValueError(
                    f"{self.place(key, 0)}: {key} means {len(images)} images ({few(images, 3)}): write paths from the "
                    "folder that holds the splits"
                )
        named: dict[str, list[str]] = {}
        for key in self.boxes:
            named.setdefault(_name(key), []).append(key)
        count = Counter(map(_name, paths))
        keys = [
            self._longer(path, named.get(_name(path), ()), unique=count[_name(path)] == 1) if key is None else key
            for path, key in zip(paths, keys, strict=True)
        ]
        missing = [path for path, key in zip(paths, keys, strict=True) if key is None]
        if missing:
            there = few([key for key in self.boxes if key not in keys], 2) or "no other image"
            raise ValueError(
                f"{self.source} has no box for {len(missing)} of {len(paths)} images ({few(missing, 3)}), and names "
                f"{there}: add their boxes, or leave the images out; paths start at the folder that holds the splits"
            )
        used = {key for key in keys if key is not None}
        lost = [key for key in self.boxes if self.complete and key not in used and not _is_below(root, key)]
        if lost:
            raise ValueError(
                f"{self.source} names {len(lost)} images that are not below {root} ({', '.join(lost[:3])}...): "
                "correct their paths, or remove their lines"
            )
        return [key for key in keys if key is not None]

    def _longer(self, path: str, candidates: Sequence[str], *, unique: bool) -> str | None:
        """The key that has more folders than the path; of an image whose name is ``unique``, in other places too."""
        parts = clean_path(path).split("/")
        alike = [
            key
            for key in candidates
            if key.endswith("/" + "/".join(parts)) or (unique and _leaves_out(key.split("/"), parts))
        ]
        if len(alike) > 1:
            raise ValueError(f"{self.source} names {path} in {len(alike)} ways ({few(alike, 3)}): keep one of them")
        return alike[0] if alike else None


def clean_path(path: str) -> str:
    """A path of any system with slashes, and without empty or dotted parts."""
    slashed = path.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    return ("/" if slashed.startswith("/") else "") + "/".join(parts)


def whole_numbers(texts: Sequence[str], *, place: str, meaning: str) -> list[int]:
    """The numbers in ``texts``; ``12.0`` is one, ``12.5`` is not, nor is one that no image reaches.

    Raises:
        ValueError: something else, at ``place``.
    """
    numbers = _numbers(texts)
    if not numbers or not all(number.is_integer() for number in numbers):
        raise ValueError(f"{place}: {meaning} must be whole numbers, got {', '.join(texts) or 'nothing'}")
    return [int(number) for number in numbers]


def corners(texts: Sequence[str], *, place: str, meaning: str = "the corners of a box") -> Box:
    """The pixels that the corners x0, y0, x1, y1 in ``texts`` lie in: ``78.4`` is in pixel 78, as boxes that were
    scaled with their images have it.

    Raises:
        ValueError: something else, at ``place``; a box that is inverted; one whose corners are between 0 and 1, which
            would be fractions of the image and not pixels.
    """
    numbers = _numbers(texts)
    got = ", ".join(texts) or "nothing"
    if len(numbers) != 4:
        raise ValueError(f"{place}: {meaning} must be numbers of pixels, got {got}")
    if not all(number.is_integer() for number in numbers) and 0 <= min(numbers) <= max(numbers) <= 1:
        raise ValueError(
            f"{place}: {meaning} must be numbers of pixels, got {got}: these look like fractions of the image; "
            "multiply by its width and height"
        )
    x0, y0, x1, y1 = numbers
    if x1 < x0 or y1 < y0:
        raise ValueError(
            f"{place}: the box {got} is inverted: expected x0 <= x1 and y0 <= y1, corners and not width and height"
        )
    return math.floor(x0), math.floor(y0), math.floor(x1), math.floor(y1)


def _numbers(texts: Sequence[str]) -> list[float]:
    """The numbers in ``texts``, empty where one of them is none that an image reaches."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return []
    return numbers if all(abs(number) < _TOO_LARGE for number in numbers) else []


def _leaves_out(shorter: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether ``shorter`` is ``parts`` with some left out, in the same order."""
    rest = iter(parts)
    return all(part in rest for part in shorter)


def _name(path: str) -> str:
    return clean_path(path).rpartition("/")[2]


def _ends(path: str) -> list[str]:
    """A path and what remains of it without leading folders, the longest first."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _is_below(root: Path, key: str) -> bool:
    """Whether ``root`` holds the image, by its path or by that without leading folders."""
    return any((root / end).is_file() for end in _ends(key))
