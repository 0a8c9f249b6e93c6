"""Boxes by image path, as the annotation files of a data set state them, before they are matched with its images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Box", "BoxTable", "whole_numbers"]

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class BoxTable:
    """The boxes of some images.

    Args:
        source: file or folder that they come from, for messages.
        boxes: path of each image -> its boxes (x0, y0, x1, y1), in original pixels.
        sizes: path of each image -> its original width and height, where the source states them.
        complete: every image it names must exist (otherwise it may hold more than the data set at hand).
    """

    source: Path
    boxes: Mapping[str, Sequence[Box]]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    complete: bool = False

    def match(self, paths: Sequence[str], root: Path) -> list[str]:
        """The key of each image in this table: its path, or that without leading folders, or that with more of them.

        A key may leave folders out where no other image of ``paths`` has the file's name: the flat release's
        ``val/x.JPEG`` is ``val/n01440764/x.JPEG`` of an image folder.

        Args:
            paths: images, relative to ``root``.
            root: folder that the paths start from.

        Raises:
            ValueError: images without a box; images that exist only in a table that should be complete.
        """
        named: dict[str, list[str]] = {}
        for key in self.boxes:
            named.setdefault(_name(key), []).append(key)
        count = Counter(_name(path) for path in paths)
        keys = [self._key(path, named, unique=count[_name(path)] == 1) for path in paths]
        missing = [path for path, key in zip(paths, keys, strict=True) if key is None]
        if missing:
            raise ValueError(
                f"{self.source} has no box for {len(missing)} of {len(paths)} images ({', '.join(missing[:3])}...): "
                "add their boxes, or leave the images out; paths start at the folder that holds the splits"
            )
        used = {key for key in keys if key is not None}
        lost = [key for key in self.boxes if self.complete and key not in used and not (root / key).is_file()]
        if lost:
            raise ValueError(
                f"{self.source} names {len(lost)} images that are not below {root} ({', '.join(lost[:3])}...): "
                "correct their paths, or remove their lines"
            )
        return [key for key in keys if key is not None]

    def _key(self, path: str, named: Mapping[str, Sequence[str]], *, unique: bool) -> str | None:
        parts = path.replace("\\", "/").split("/")
        for start in range(len(parts)):
            if (key := "/".join(parts[start:])) in self.boxes:
                return key
        alike = [
            key
            for key in named.get(parts[-1], ())
            if key.endswith("/" + "/".join(parts)) or (unique and _leaves_out(key.split("/"), parts))
        ]
        return alike[0] if len(alike) == 1 else None


def whole_numbers(texts: Sequence[str], *, place: str, meaning: str) -> list[int]:
    """The numbers in ``texts``; ``12.0`` is one, ``12.5`` is not.

    Raises:
        ValueError: something else, at ``place``.
    """
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if not numbers or not all(number.is_integer() for number in numbers):
        raise ValueError(f"{place}: {meaning} must be whole numbers, got {', '.join(texts) or 'nothing'}")
    return [int(number) for number in numbers]


def _leaves_out(shorter: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether ``shorter`` is ``parts`` with some left out, in the same order."""
    rest = iter(parts)
    return all(part in rest for part in shorter)


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
