"""Bounding boxes of test images, in the order of the images: what localisation is measured against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.data.box_table import BoxTable
from alignmixup.data.boxes.csv_files import read_box_csv, read_metadata
from alignmixup.data.boxes.xml_files import read_xml_boxes
from alignmixup.data.dataset import ImageData
from alignmixup.data.image_file import image_sizes
from alignmixup.data.sets.cub import read_cub_boxes
from alignmixup.data.sets.tiny_imagenet import read_tiny_boxes

__all__ = ["BoxData", "load_boxes"]


@dataclass(frozen=True, eq=False)
class BoxData:
    """Boxes and original sizes of images; entry i belongs to image i.

    Convention:
        - a box is x0, y0, x1, y1 in pixels of the ORIGINAL image, corners included: x1 is the last column that
          belongs to the box. Some releases write the width itself as last column; it is accepted.

    Args:
        name: of the data set.
        paths: path of each image, relative to the data set's root.
        boxes: (k, 4) int64 for each image, k >= 1.
        sizes: (N, 2) int64, original width and height.
        labels: (N,) int64.

    Raises:
        ValueError: counts or shapes that differ from these; a box that is inverted or not inside its image.
    """

    name: str
    paths: tuple[str, ...]
    boxes: list[Tensor]
    sizes: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        count = len(self.paths)
        if len(self.boxes) != count or self.sizes.shape != (count, 2) or self.labels.shape != (count,):
            raise ValueError(
                f"{self.name}: {count} paths, {len(self.boxes)} entries of boxes, sizes {tuple(self.sizes.shape)} and "
                f"labels {tuple(self.labels.shape)}: expected one of each per image, sizes with two columns"
            )
        for path, boxes in zip(self.paths, self.boxes, strict=True):
            if boxes.dim() != 2 or boxes.shape[1] != 4 or len(boxes) == 0 or boxes.dtype != torch.int64:
                raise ValueError(
                    f"{path}: boxes must be int64 of shape (k, 4), k >= 1, got {boxes.dtype} of {tuple(boxes.shape)}"
                )
        _check_boxes(self.boxes, self.sizes, self.paths, place=lambda *_: self.name)

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, index: Tensor) -> "BoxData":
        """The images at ``index`` (int64), in that order."""
        chosen = index.tolist()
        paths = tuple(self.paths[i] for i in chosen)
        return BoxData(self.name, paths, [self.boxes[i] for i in chosen], self.sizes[index], self.labels[index])


def load_boxes(name: str, *, root: str | Path, dataset: ImageData, source: str | Path | None = None) -> BoxData:
    """The boxes of ``dataset.test``, in its order, in pixels of the original image.

    A test image must show what its box refers to: load images in files with ``test_view="whole"`` (both sides scaled,
    nothing cut).

    Args:
        name: what ``dataset`` was loaded by: "cub", "tiny-imagenet", "imagenet" or "folder".
        root: the root it was loaded from.
        dataset: what ``alignmixup.data.load`` returned.
        source: where the boxes are. None for those of the release (cub, tiny-imagenet). A CSV file with lines
            ``path,x0,y0,x1,y1``; a folder that holds ``localization.txt`` in that form (and ``image_sizes.txt``); or a
            folder of ILSVRC XML files, one per image, by the image's name.

    Raises:
        FileNotFoundError: annotations that are missing.
        ValueError: a set without paths or boxes, images without a box, boxes outside their image, damaged files.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from alignmixup import data
        >>> for path in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        ...     Path("pictures", path).parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40, 30)).save(Path("pictures", path))
        >>> size = Path("boxes.csv").write_text("test/cat/3.png,5,5,20,20")
        >>> pictures = data.load("folder", root="pictures", test_view="whole")
        >>> load_boxes("folder", root="pictures", dataset=pictures, source="boxes.csv").boxes
        [tensor([[ 5,  5, 20, 20]])]
    """
    split = dataset.test
    if split.paths is None:
        raise ValueError(f"{name} has no boxes: its images have no files. Sets with boxes: cub, tiny-imagenet, folder")
    paths = tuple(split.paths)
    table, folder = _read(name, Path(root), paths, source)
    keys = table.match(paths, folder, dataset.train.paths or ())
    boxes = [torch.tensor(table.boxes[key], dtype=torch.int64).view(-1, 4) for key in keys]
    sizes = _sizes(table, keys, paths, folder, upright=split.upright)
    _check_boxes(boxes, sizes, paths, place=lambda image, number: table.place(keys[image], number))
    return BoxData(name, paths, boxes, sizes, split.labels)


def _read(name: str, root: Path, paths: Sequence[str], source: str | Path | None) -> tuple[BoxTable, Path]:
    """The table and the folder that paths start from."""
    if source is None:
        if name == "cub":
            return read_cub_boxes(root, paths)
        if name == "tiny-imagenet":
            return read_tiny_boxes(root)
        raise ValueError(
            f"the boxes of {name} are not part of its images: name in --boxes (source=) a CSV file "
            "(path,x0,y0,x1,y1), a folder with localization.txt or a folder of XML files"
        )
    place = Path(source)
    if place.is_file():
        return read_box_csv(place), root
    if (place / "localization.txt").is_file():
        return read_metadata(place), root
    if not place.is_dir():
        raise FileNotFoundError(
            f"no boxes at {place}: expected in --boxes (source=) a CSV file, or a folder of XML files or metadata"
        )
    return read_xml_boxes(place, paths), root


def _sizes(table: BoxTable, keys: Sequence[str], paths: Sequence[str], root: Path, *, upright: bool) -> Tensor:
    """Original sizes: those that go with the boxes, else those of the files.

    Raises:
        ValueError: an image that is turned, and whose boxes were drawn on it as it lay.
    """
    # an image may be turned only where ``upright`` says so: else what goes with the boxes need not be read again
    unknown = [path for key, path in zip(keys, paths, strict=True) if upright or key not in table.sizes]
    read = dict(zip(unknown, image_sizes(root, unknown, upright=upright), strict=True))
    sizes = [table.sizes.get(key) or read[path] for key, path in zip(keys, paths, strict=True)]
    for path, stated in zip(paths, sizes, strict=True):
        if path in read and stated == read[path][::-1] and stated[0] != stated[1]:
            raise ValueError(
                f"{table.source} states {stated[0]}x{stated[1]} pixels for {path}, which is seen as "
                f"{read[path][0]}x{read[path][1]}: its EXIF orientation turns it. Draw the boxes on the upright image, "
                "or remove the orientation from the file"
            )
    return torch.tensor(sizes, dtype=torch.int64).view(-1, 2)


def _check_boxes(
    boxes: Sequence[Tensor], sizes: Tensor, paths: Sequence[str], *, place: Callable[[int, int], str]
) -> None:
    """Refuse boxes that are inverted or not inside their image; ``place`` says where box j of image i stands."""
    counts = torch.tensor([len(each) for each in boxes], dtype=torch.int64)
    owner = torch.arange(len(boxes)).repeat_interleave(counts)
    corners = torch.cat([*boxes, torch.empty(0, 4, dtype=torch.int64)])
    low, high, size = corners[:, :2], corners[:, 2:], sizes[owner]
    inverted = (high < low).any(1)
    outside = (low < 0).any(1) | (low >= size).any(1) | (high > size).any(1)
    for wrong, what in ((inverted, "is inverted (x0 <= x1 and y0 <= y1 are wanted)"), (outside, "is not inside")):
        if wrong.any():
            first = int(wrong.nonzero()[0])
            image = int(owner[first])
            width, height = sizes[image].tolist()
            raise ValueError(
                f"{place(image, first - int(counts[:image].sum()))}: box {tuple(corners[first].tolist())} of "
                f"{paths[image]} {what}; the image has {width}x{height} pixels ({int(wrong.sum())} such boxes). Boxes "
                "are x0, y0, x1, y1 in pixels of the original image, counted from 0"
            )
