"""Boxes of anybody's images, in lines of ``path,x0,y0,x1,y1``."""

import csv
from collections.abc import Iterator
from pathlib import Path

from alignmixup.data.box_table import Box, BoxTable, whole_numbers

__all__ = ["read_box_csv", "read_metadata"]

_COLUMNS = 5


def read_box_csv(path: str | Path) -> BoxTable:
    r"""The boxes in a file with lines ``path,x0,y0,x1,y1`` (several lines for several boxes) and, perhaps, a header.

    Args:
        path: the file. Images are named by their paths from the folder that holds the splits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: lines of another form, or corners that are not whole numbers.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "boxes.csv"
        ...     _ = file.write_text("path,x0,y0,x1,y1\ntest/cat/1.jpg,3,4,50,60\n")
        ...     read_box_csv(file).boxes
        {'test/cat/1.jpg': [(3, 4, 50, 60)]}
    """
    file = Path(path)
    boxes: dict[str, list[Box]] = {}
    for place, row in _rows(file, columns=_COLUMNS, header="path"):
        x0, y0, x1, y1 = whole_numbers(row[1:], place=place, meaning="the corners of a box")
        boxes.setdefault(row[0], []).append((x0, y0, x1, y1))
    if not boxes:
        raise ValueError(f"{file} holds no box: expected lines of path,x0,y0,x1,y1")
    return BoxTable(file, boxes, complete=True)


def read_metadata(folder: str | Path) -> BoxTable:
    """The boxes in a folder with ``localization.txt`` (``path,x0,y0,x1,y1``) and perhaps ``image_sizes.txt``
    (``path,width,height``), one line per image.

    The boxes are in pixels of those sizes, so that images may have been scaled since. Without that file the sizes are
    those of the images.

    Args:
        folder: where the files are.

    Raises:
        FileNotFoundError: there is no ``localization.txt``.
        ValueError: damaged files, or an image with two sizes.
    """
    place = Path(folder)
    table = read_box_csv(place / "localization.txt")
    sizes: dict[str, tuple[int, int]] = {}
    if (place / "image_sizes.txt").is_file():
        for where, row in _rows(place / "image_sizes.txt", columns=3, header="path"):
            width, height = whole_numbers(row[1:], place=where, meaning="width and height")
            if row[0] in sizes or min(width, height) < 1:
                reason = "is there twice" if row[0] in sizes else f"has {width}x{height} pixels"
                raise ValueError(f"{where}: {row[0]} {reason}")
            sizes[row[0]] = (width, height)
    # the metadata of a release may serve an excerpt of its images
    return BoxTable(table.source, table.boxes, sizes)


def _rows(file: Path, *, columns: int, header: str) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line; a first line whose cells from the second on are no numbers is a header."""
    if not file.is_file():
        raise FileNotFoundError(f"no boxes at {file}: expected a file with lines of {columns} columns, {header},...")
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is not a text file with commas: {error}") from error
    for number, cells in enumerate(lines, start=1):
        row = [cell.strip() for cell in cells]
        if not any(row) or (number == 1 and _is_header(row)):
            continue
        if len(row) != columns:
            raise ValueError(f"{file}, line {number}: {len(row)} columns, expected {columns}: {','.join(row)}")
        yield f"{file}, line {number}", row


def _is_header(row: list[str]) -> bool:
    return len(row) > 1 and all(cell.isidentifier() for cell in row[1:])
