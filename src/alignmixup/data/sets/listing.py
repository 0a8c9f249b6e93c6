"""Images below folders of classes: which are taken, in which order, and what is passed over."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "Passed", "Walk", "few", "is_hidden", "list_images", "near_duplicates", "order_classes"]

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".j2k", ".jpx", ".tga"),
)
# what systems and servers put into folders, in lower case; names that start with a dot are hidden anyway
_HIDDEN = (".", "~$")
_SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
        *("@__thumb", "@synoresource", "@sharebin", "~snapshot", "_vti_cnf", "cvs", "node_modules"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found"),
        *("network trash folder", "temporary items"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)

_CACHE = re.compile(r"decoded-cache[-\w]*\.safetensors")


@dataclass
class Passed:
    """What was passed over, as paths relative to the root.

    Attributes:
        hidden: hidden and system files and folders.
        links: links to folders that had been seen, or that lead nowhere.
        loose: images beside the class folders, which belong to no class.
        others: files that are no images, by the ends of their names.
    """

    hidden: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def remarks(self) -> list[str]:
        """A line for hidden names, one for links, images without a class and other files, where there are any."""
        kinds = (
            (self.hidden, "hidden or system files and folders skipped"),
            (self.links, "links skipped, which lead nowhere or to folders that are read anyway"),
            (self.loose, "images lie beside the class folders and belong to none"),
        )
        lines = [f"{len(names)} {what} ({few(sorted(names))})" for names, what in kinds if names]
        endings = [f"{suffix or 'no ending'}: {count}" for suffix, count in self.others.most_common()]
        return lines + [f"{self.others.total()} files that are no images ({few(endings)})" for _ in endings[:1]]


class Walk:
    """A way through the folders below a root that enters each of them once, by whatever links it is reached.

    Args:
        root: names are relative to it.
        closed: folders that are not entered through links, such as the other split, beside the root and what it is in.
    """

    def __init__(self, root: Path, closed: Iterable[Path] = ()) -> None:
        self.root = root
        self.passed = Passed()
        self._seen: set[str] = set()  # real paths
        for folder in (root, *closed):
            self._close_with_parents(folder)

    def folders(self, folder: Path) -> list[str]:
        """The names of the folders in ``folder``, those that count; each is closed to links from elsewhere.

        Raises:
            ValueError: two names for one folder.
        """
        named: dict[str, str] = {}  # by real path
        linked: list[Path] = []
        self._close_with_parents(folder)
        real_folder = os.path.realpath(folder)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if self._is_folder(entry):
                    real = os.path.join(real_folder, entry.name)
                    if entry.is_symlink():
                        real = os.path.realpath(real)
                        linked.append(folder / entry.name)
                    if real in self._seen:
                        self.passed.links.append(self._relative(folder / entry.name))
                    elif real in named:
                        raise ValueError(
                            f"{folder / named[real]} and {folder / entry.name} are one folder, so that its images "
                            "would have two labels: remove one of the names"
                        )
                    else:
                        named[real] = entry.name
                elif self._is_image(entry):
                    self.passed.loose.append(self._relative(Path(entry.path)))
        self._seen.update(named)
        for place in linked:
            self._close_with_parents(place)
        return list(named.values())

    def images(self, folder: Path) -> list[str]:
        """The images in and below one of the folders that ``folders`` named, as sorted paths relative to the root."""
        names: list[str] = []
        pending = [folder]
        while pending:
            place = pending.pop()
            start = self._relative(place) + os.sep
            with os.scandir(place) as entries:
                for entry in entries:
                    # nearly all of a million names, so it comes first; the rest is for everything else
                    if _is_image_name(entry.name) and entry.is_file(follow_symlinks=False):
                        names.append(start + entry.name)
                    elif self._is_folder(entry):
                        if self._enter(place / entry.name):
                            pending.append(place / entry.name)
                        else:
                            self.passed.links.append(self._relative(place / entry.name))
                    elif self._is_image(entry):
                        names.append(start + entry.name)
        return sorted(names)

    def _is_folder(self, entry: "os.DirEntry[str]") -> bool:
        """Whether an entry is a folder that counts; hidden ones and links in circles are noted."""
        try:
            if not entry.is_dir():
                return False
        except OSError:  # a link to itself
            self.passed.links.append(self._relative(Path(entry.path)))
            return False
        return not self._passes_hidden(entry)

    def _is_image(self, entry: "os.DirEntry[str]") -> bool:
        """Whether an entry that is no folder is an image; a link that leads nowhere is one, missing when it is read."""
        if not (entry.is_symlink() or entry.is_file()):  # a pipe, a socket
            return False
        if self._passes_hidden(entry):
            return False
        if _is_image_name(entry.name):
            return True
        if not _CACHE.fullmatch(entry.name):  # what this package keeps there is nothing odd
            self.passed.others[os.path.splitext(entry.name)[1].lower()] += 1
        return False

    def _passes_hidden(self, entry: "os.DirEntry[str]") -> bool:
        if is_hidden(entry.name):
            self.passed.hidden.append(self._relative(Path(entry.path)))
        return is_hidden(entry.name)

    def _enter(self, folder: Path) -> bool:
        real = os.path.realpath(folder)
        if real in self._seen:
            return False
        self._seen.add(real)
        return True

    def _close_with_parents(self, folder: Path) -> None:
        real = folder.resolve()
        self._seen.update(map(str, (real, *real.parents)))

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.root)


def list_images(folder: Path) -> tuple[list[Path], Passed]:
    """All images below a folder, at any depth, sorted; and what was passed over."""
    walk = Walk(folder)
    return [folder / name for name in walk.images(folder)], walk.passed


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's making."""
    return name.startswith(_HIDDEN) or name.lower() in _SYSTEM_NAMES


def order_classes(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their labels: by value where all are numbers (0, 1, 2, 10), else as text."""
    listed = list(names)
    if all(name.isascii() and name.isdigit() for name in listed):
        return sorted(listed, key=lambda name: (int(name), name))
    return sorted(listed)


def near_duplicates(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ only in case, spaces, hyphens, leading zeros or the way that accents are coded."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_folded(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def few(names: Sequence[object], count: int = 5) -> str:
    """The first names of a list, for a message."""
    return ", ".join(str(name) for name in names[:count]) + ("..." if len(names) > count else "")


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(_HIDDEN)


def _folded(name: str) -> str:
    words = re.split(r"[\s_-]+", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(str(int(word)) if word.isdecimal() else word for word in words if word)
