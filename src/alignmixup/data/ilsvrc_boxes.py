"""Boxes in the XML files of ILSVRC (and Pascal VOC): one file per image, any number of objects in it."""

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from alignmixup.data.box_table import Box, BoxTable, whole_numbers

__all__ = ["read_xml_boxes"]


def read_xml_boxes(folder: str | Path, paths: Sequence[str]) -> BoxTable:
    """The boxes of the images at ``paths``: of every object in ``NAME.xml``, at any depth below ``folder``.

    Corners are taken as the files state them. The image's size is the file's, where it states one.

    Args:
        folder: folder of XML files.
        paths: images; ``val/n01440764/ILSVRC2012_val_00000293.JPEG`` has its boxes in ``ILSVRC2012_val_00000293.xml``.

    Raises:
        ValueError: an image without a file or a file without an object; a damaged file; two files of one name.
    """
    place = Path(folder)
    wanted = {Path(path).stem for path in paths}
    files: dict[str, Path] = {}
    for where, _, names in os.walk(place, followlinks=True):
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() != ".xml" or stem not in wanted:
                continue
            if stem in files:
                raise ValueError(f"{name} is below {place} twice, in {files[stem].parent} and in {where}: remove one")
            files[stem] = Path(where) / name
    boxes: dict[str, Sequence[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for path in paths:
        file = files.get(Path(path).stem)
        if file is None:
            continue
        found, size = _read(file)
        if found:
            boxes[path] = found
        if size is not None:
            sizes[path] = size
    return BoxTable(place, boxes, sizes)


def _read(file: Path) -> tuple[list[Box], tuple[int, int] | None]:
    try:
        tree = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} is not an XML file ({error}): restore it from the release") from error
    boxes: list[Box] = []
    for box in tree.iter("bndbox"):
        corners = [box.findtext(name, "") for name in ("xmin", "ymin", "xmax", "ymax")]
        x0, y0, x1, y1 = whole_numbers(corners, place=str(file), meaning="xmin, ymin, xmax and ymax")
        boxes.append((x0, y0, x1, y1))
    stated = [tree.findtext(f"size/{name}", "0") for name in ("width", "height")]
    width, height = whole_numbers(stated, place=str(file), meaning="width and height")
    return boxes, (width, height) if min(width, height) > 0 else None
