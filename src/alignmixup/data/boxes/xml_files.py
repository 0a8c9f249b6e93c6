"""Boxes in the XML files of ILSVRC (and Pascal VOC): one file per image, any number of objects in it."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from alignmixup.data.box_table import Box, BoxTable, corners, whole_numbers
from alignmixup.files import check_is_file

__all__ = ["read_xml_boxes"]


def read_xml_boxes(folder: str | Path, paths: Sequence[str]) -> BoxTable:
    """The boxes of the images at ``paths``: of every object in ``NAME.xml``, at any depth below ``folder``,
    whatever the object's class; parts of objects do not count.

    ``val/n01440764/ILSVRC2012_val_00000293.JPEG`` has its boxes in ``ILSVRC2012_val_00000293.xml``; where several
    images or files have one name, the folder that they lie in must be the same too. Corners are taken as the files
    state them. The image's size is the file's, where it states one.

    Raises:
        ValueError: a damaged file, or one that could be that of several images.
    """
    place = Path(folder)
    images = Counter(Path(path).stem for path in paths)
    files: dict[str, list[Path]] = {}
    for where, _, names in os.walk(place, followlinks=True):
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() == ".xml" and stem in images:
                files.setdefault(stem, []).append(Path(where) / name)
    boxes: dict[str, Sequence[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for path in paths:
        candidates = files.get(Path(path).stem, [])
        if len(candidates) > 1 or images[Path(path).stem] > 1:
            candidates = _beside(path, candidates, place)
        if not candidates:
            continue
        found, size = _read(candidates[0])
        if found:
            boxes[path] = found
        if size is not None:
            sizes[path] = size
    return BoxTable(place, boxes, sizes)


def _beside(path: str, candidates: Sequence[Path], place: Path) -> list[Path]:
    """Those of several files (at most one) whose folder has the name of the image's.

    Raises:
        ValueError: it cannot be told which is meant.
    """
    stem, parent = Path(path).stem, Path(path).parent.name
    same = [file for file in candidates if file.parent.name == parent]
    twice = same if len(same) > 1 else candidates
    if not same and len(candidates) == 1:
        raise ValueError(
            f"{candidates[0]} could be that of several images of this name ({path}...): put the XML files into folders "
            "of the same names as the images'"
        )
    if len(same) != 1 and twice:
        raise ValueError(
            f"{stem}.xml is below {place} twice, in {twice[0].parent} and in {twice[1].parent}: remove one"
        )
    return same


def _read(file: Path) -> tuple[list[Box], tuple[int, int] | None]:
    check_is_file(file)
    try:
        tree = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} is not an XML file ({error}): restore it from the release") from error
    boxes: list[Box] = []
    # the parts of a person (head, hand, foot) have boxes of their own in Pascal VOC
    for box in (box for owner in tree.iter() if owner.tag != "part" for box in owner.findall("bndbox")):
        texts = [box.findtext(name, "") for name in ("xmin", "ymin", "xmax", "ymax")]
        boxes.append(corners(texts, place=str(file), meaning="xmin, ymin, xmax and ymax"))
    stated = [tree.findtext(f"size/{name}", "0") for name in ("width", "height")]
    width, height = whole_numbers(stated, place=str(file), meaning="width and height")
    return boxes, (width, height) if min(width, height) > 0 else None
