"""Boxes of anybody's images, in lines of ``path,x0,y0,x1,y1``."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from alignmixup.data.box_table import Box, BoxTable, clean_path, corners, whole_numbers
from alignmixup.data.sets.listing import IMAGE_SUFFIXES

__all__ = ["read_box_csv", "read_metadata"]

_CORNERS = ("x0", "y0", "x1", "y1")
_SEPARATORS = ",;\t"
# what headers call the corners, lower case and without other signs; x1 and y1 are the first corner beside x2 and y2
_NAMES = {
    "x0": ("x0", "xmin", "minx", "left", "xtl", "xstart", "startx", "col0"),
    "y0": ("y0", "ymin", "miny", "top", "upper", "ytl", "ystart", "starty", "row0"),
    "x1": ("x1", "xmax", "maxx", "right", "xbr", "xend", "endx", "col1"),
    "y1": ("y1", "ymax", "maxy", "bottom", "lower", "ybr", "yend", "endy", "row1"),
}
_NAMES_FROM_ONE = {"x0": ("x1",), "y0": ("y1",), "x1": ("x2",), "y1": ("y2",)}
_SIDES = ("w", "h", "bw", "bh", "width", "height", "boxwidth", "boxheight")
_IMAGE_SIDES = {side: (side, f"image{side}", f"img{side}", f"im{side}") for side in ("width", "height")}
_UNSTATED = ("", "na", "n/a", "nan", "none", "null")
_PATHS = (
    *("path", "file", "filename", "filepath", "name"),
    *("image", "imagepath", "imagename", "imagefile", "imageid", "img", "imgpath", "imgname"),
)


def read_box_csv(path: str | Path) -> BoxTable:
    r"""The boxes in a file with lines ``path,x0,y0,x1,y1`` (several lines for several boxes) and, perhaps, a header.

    Convention:
        - columns are separated by commas, semicolons or tabs; names with the separator in them stand in double quotes.
        - a header that names the corners (x0 or xmin or left... ; x1, y1, x2, y2) says their order. It may name further
          columns where one is called path, file, image...; a header of other names is refused.
        - columns width and height beside the corners are the image's, which may have been scaled since; where they are
          the box's own, or empty, the size is that of the file.
        - pixels count from 0, and the last one belongs to the box. A corner at 78.4 lies in pixel 78.
        - a path may start anywhere, have a drive, and backslashes; a box that is there twice is one.

    Args:
        path: the file, in UTF-8. Images are named by their paths from the folder that holds the splits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: lines of another form, corners that are no pixels, inverted boxes, widths in place of them.

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
    lines: dict[str, list[int]] = {}
    stated: list[tuple[str, str, Box, list[str]]] = []
    for line, row in _rows(file, columns=_CORNERS):
        box = corners(row[1:5], place=f"{file}, line {line}")
        key = clean_path(row[0])
        stated.append((f"{file}, line {line}", key, box, row[5:]))
        if box not in boxes.setdefault(key, []):
            boxes[key].append(box)
            lines.setdefault(key, []).append(line)
    if not boxes:
        raise ValueError(f"{file} holds no box: expected lines of path,x0,y0,x1,y1")
    return BoxTable(file, boxes, _image_sizes(stated), complete=True, lines=lines)


def read_metadata(folder: str | Path) -> BoxTable:
    """The boxes in a folder with ``localization.txt`` (``path,x0,y0,x1,y1``) and perhaps ``image_sizes.txt``
    (``path,width,height``), one line per image.

    The boxes are in pixels of those sizes, so that images may have been scaled since. Without that file the sizes are
    those of the images.

    Raises:
        FileNotFoundError: there is no ``localization.txt``.
        ValueError: damaged files, or an image with two sizes.
    """
    place = Path(folder)
    table = read_box_csv(place / "localization.txt")
    sizes: dict[str, tuple[int, int]] = {}
    if (place / "image_sizes.txt").is_file():
        for line, row in _rows(place / "image_sizes.txt", columns=("width", "height")):
            where, key = f"{place / 'image_sizes.txt'}, line {line}", clean_path(row[0])
            width, height = whole_numbers(row[1:], place=where, meaning="width and height")
            if key in sizes or min(width, height) < 1:
                reason = "is there twice" if key in sizes else f"has {width}x{height} pixels"
                raise ValueError(f"{where}: {row[0]} {reason}")
            sizes[key] = (width, height)
    # the metadata of a release may serve an excerpt of its images
    return BoxTable(table.source, table.boxes, {**table.sizes, **sizes}, lines=table.lines)


def _image_sizes(stated: Sequence[tuple[str, str, Box, list[str]]]) -> dict[str, tuple[int, int]]:
    """The sizes of images in rows of place, image, box, width and height (or none), unless those are the boxes' own."""
    sizes: dict[str, tuple[int, int]] = {}
    if all(_are_sides(cells, box) for _, _, box, cells in stated):
        return sizes
    for place, key, _, cells in stated:
        if any(cell.strip().lower() in _UNSTATED for cell in cells):
            continue
        width, height = whole_numbers(cells, place=place, meaning="width and height of an image")
        if min(width, height) > 0 and sizes.setdefault(key, (width, height)) != (width, height):
            raise ValueError(f"{place}: {key} has {width}x{height} pixels, and {'x'.join(map(str, sizes[key]))} above")
    return sizes


def _are_sides(cells: Sequence[str], box: Box) -> bool:
    """Whether width and height, where there are any, are those of the box, whichever way it counts its last pixel."""
    sides = box[2] - box[0], box[3] - box[1]
    return all(_is_number(cell) and abs(float(cell) - side) <= 1 for cell, side in zip(cells, sides, strict=False))


def _rows(file: Path, *, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line: a path, ``columns`` in this order, then width and height if they are named."""
    expected = ",".join(("path", *columns))
    if not file.is_file():
        raise FileNotFoundError(f"no boxes at {file}: expected a file with lines of {expected}")
    try:
        text = file.read_text(encoding="utf-8-sig")
        start = text.lstrip("\r\n").partition("\n")[0]
        separator = max(_SEPARATORS, key=start.count)  # the comma where none is there
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is not a text file (UTF-8) with lines of {expected}: {error}") from error
    lines = [(number, row) for number, row in lines if any(row)]
    order = list(range(len(columns) + 1))
    width, wanted = len(order), expected
    if lines and _is_header(lines[0][1]):
        number, header = lines.pop(0)
        if tuple(columns) == _CORNERS:
            order, width, wanted = _order(header, place=f"{file}, line {number}"), len(header), ",".join(header)
    for number, row in lines:
        if len(row) != width:
            raise ValueError(
                f"{file}, line {number}: {len(row)} columns, expected {width} ({wanted}): {separator.join(row)}"
            )
        yield number, [row[place] for place in order]


def _is_header(row: Sequence[str]) -> bool:
    """Whether a first line names columns: it has no number, and names no image."""
    return len(row) > 1 and not any(_is_number(cell) for cell in row) and not row[0].lower().endswith(IMAGE_SUFFIXES)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _order(header: Sequence[str], *, place: str) -> list[int]:
    """Where a row has its path, then the corners, then width and height if there are such columns.

    Raises:
        ValueError: the header does not say it.
    """
    names = ["".join(filter(str.isalnum, cell.lower())).removeprefix("bbox").removesuffix("px") for cell in header]
    known = _NAMES_FROM_ONE if {"x1", "y1", "x2", "y2"} <= set(names) else _NAMES
    found = [[k for k, name in enumerate(names) if name in known[corner]] for corner in _CORNERS]
    corners = [places[0] for places in found if len(places) == 1]
    paths = [k for k, name in enumerate(names) if k not in corners and (name in _PATHS or len(names) == len(found) + 1)]
    if len(corners) == len(found) and len(paths) == 1:
        sides = [[k for k, name in enumerate(names) if name in known] for known in _IMAGE_SIDES.values()]
        return [*paths, *corners, *(each[0] for each in sides if all(map(len, sides)))]
    by_sides = len(corners) < len(found) and any(name in _SIDES for name in names)
    reason = ", both corners and not width and height" if by_sides else ": name them so, or leave out the header"
    raise ValueError(f"{place}: the columns are {', '.join(header)}: expected path,x0,y0,x1,y1{reason}")
