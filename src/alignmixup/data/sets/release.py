"""The tree of files in which a data set is published, with errors that name the file and the way out."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Release"]


@dataclass(frozen=True)
class Release:
    """A data set's tree.

    Args:
        name: of the data set.
        folder: what it unpacks to.
        source: where it comes from, in words.
        needed: files and folders of it; the first one, a file, tells that a folder is the set's own.
    """

    name: str
    folder: str
    source: str
    needed: tuple[str, ...]

    def find(self, root: Path) -> Path:
        """The set's folder: ``root`` itself, or below it.

        Raises:
            FileNotFoundError: the folder or a needed part of it is missing.
        """
        folder = root if (root / self.needed[0]).is_file() else root / self.folder
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{self.name} is not at {folder}: expected {self.source} ({', '.join(self.needed)}). Get it by hand "
                f"and unpack it in {root}; it cannot be downloaded by download=True"
            )
        for name in self.needed:
            if not (folder / name).exists():
                raise self.missing(f"{folder / name} is missing")
        return folder

    def missing(self, what: str) -> FileNotFoundError:
        """The error that says what is missing."""
        return FileNotFoundError(f"{what}: expected {self.source}. Unpack it again")

    def damaged(self, what: str) -> ValueError:
        """The error that says what is damaged."""
        return ValueError(f"{what}: expected {self.source}. Unpack it again")

    def lines(self, path: Path) -> list[tuple[int, str]]:
        """Number and text of each line of a file that is not blank.

        Raises:
            ValueError: no text in UTF-8.
        """
        if not path.is_file():
            raise self.missing(f"{path} is missing, or no file")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise self.damaged(f"{path} is not a text file ({error})") from error
        return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
