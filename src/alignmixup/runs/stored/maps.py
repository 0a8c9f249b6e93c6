"""Score maps of anybody's network, read from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.data.box_table import BoxTable
from alignmixup.data.boxes.csv_files import read_box_csv, read_metadata
from alignmixup.data.decode import image_size, with_bar
from alignmixup.evaluation.localization.box_accuracy import tabulate_boxes
from alignmixup.files import read_array
from alignmixup.outside import require
from alignmixup.runs.localization import Localization, count_boxes
from alignmixup.runs.options.localization import LocalizationProtocol


def score_stored_maps(
    folder: Path, source: Path, images: Path | None, *, protocol: LocalizationProtocol
) -> Localization:
    """Measure the maps of all images that have boxes.

    Args:
        folder: holds ``IMAGE.npy`` for each image, by its path in the boxes, with or without its extension.
        source: CSV file ``path,x0,y0,x1,y1``, or folder with ``localization.txt`` (and ``image_sizes.txt``).
        images: folder that the paths start from, for the sizes of the images; None where the source states them.
        protocol: which contours are counted at which thresholds; the rest of it is for networks.
    """
    table = read_box_csv(source) if source.is_file() else read_metadata(source)
    paths = list(table.boxes)
    boxes = [torch.tensor(table.boxes[path], dtype=torch.int64) for path in paths]
    sizes = torch.tensor([_size(table, path, images) for path in paths], dtype=torch.int64)
    files = [_find(folder, path) for path in paths]
    _check_different(paths, files)
    counted = tabulate_boxes(_read(with_bar(files, folder.name, total=len(files))), boxes, sizes)
    record = {"run": str(folder), "method": folder.name, "data": str(source), "images": len(paths)}
    return Localization(record | count_boxes(counted, protocol.counted, protocol.step), boxes, sizes)


def _size(table: BoxTable, path: str, images: Path | None) -> tuple[int, int]:
    if path in table.sizes:
        return table.sizes[path]
    if images is None:
        raise ValueError(
            f"the size of {path} is not known: name the folder of the images with --images, or put image_sizes.txt "
            f"(path,width,height) beside localization.txt and name that folder; {table.source} states no sizes"
        )
    return image_size(images / path)


def _find(folder: Path, path: str) -> Path:
    names = (f"{path}.npy", str(Path(path).with_suffix(".npy")))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} holds no score map of {path}: expected {' or '.join(names)}")


def _check_different(paths: Sequence[str], files: Sequence[Path]) -> None:
    """Refuse one map for two images: ``0.jpg`` and ``0.png``, which differ in what was left out."""
    first: dict[Path, str] = {}
    for path, file in zip(paths, files, strict=True):
        if file in first:
            raise ValueError(
                f"{file} would be the score map of {first[file]} and of {path}: write {path}.npy for each, with the "
                "extension of its image"
            )
        first[file] = path


def _read(files: Iterable[Path]) -> Iterator[Tensor]:
    numpy = require("numpy")
    for file in files:
        score_map = read_array(file)
        if getattr(score_map, "ndim", 0) != 2 or score_map.dtype not in (numpy.float32, numpy.float64):
            raise ValueError(
                f"{file} must be float32 or float64 of shape (H, W), it is {score_map.dtype} of shape {score_map.shape}"
            )
        yield torch.from_numpy(score_map)
