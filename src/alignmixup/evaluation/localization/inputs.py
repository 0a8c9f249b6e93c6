"""Score maps and boxes as they are given, checked: a mistake names the image."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_BATCH = 256  # maps that are looked at together


def read_boxes(boxes: Sequence[Any], image_sizes: Any) -> tuple[list[Tensor], Tensor]:
    """Boxes (k, 4) of every image, x0, y0, x1, y1, k >= 1, and sizes (N, 2), width and height, int64.

    Raises:
        ValueError: counts that differ, numbers that are not whole, an image without a box, a box that is inverted or
            not inside its image.
    """
    sizes = _whole(image_sizes, "image_sizes")
    if sizes.dim() != 2 or sizes.shape[1] != 2 or len(sizes) == 0 or int(sizes.min()) < 1:
        raise ValueError(f"image_sizes must be (N, 2), width and height >= 1, got shape {tuple(sizes.shape)}")
    if len(boxes) != len(sizes):
        raise ValueError(f"there are boxes of {len(boxes)} images and sizes of {len(sizes)}")
    read = [_whole(own, f"image {index}: boxes") for index, own in enumerate(boxes)]
    for index, own in enumerate(read):
        if own.dim() != 2 or own.shape[1] != 4 or len(own) == 0:
            raise ValueError(f"image {index}: boxes must be (k, 4) with k >= 1, got shape {tuple(own.shape)}")
    _check_corners(read, sizes)
    return read, sizes


def read_levels(score_maps: Any) -> Iterator[Tensor]:
    """Score maps, as `box_accuracy` takes them, as levels ``floor(255 * map)``, (B, H, W) uint8, some at a time.

    Raises:
        ValueError: another shape or type, values outside [0, 1] or NaN.
    """
    start, shape = 0, None
    for maps in _parts(score_maps):
        if maps.dim() != 3 or 0 in maps.shape or maps.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"score maps must be float32 or float64 of shape (N, H, W), from image {start} on they are "
                f"{maps.dtype} of shape {tuple(maps.shape)}"
            )
        if shape not in (None, maps.shape[1:]):
            raise ValueError(f"image {start}: a score map of {tuple(maps.shape[1:])} after one of {tuple(shape or ())}")
        shape = maps.shape[1:]
        yield _levels(maps.detach().cpu(), start)
        start += len(maps)


def _levels(maps: Tensor, start: int) -> Tensor:
    low, high = maps.aminmax()
    if not (low >= 0 and high <= 1):  # so written, NaN fails
        outside = ~((maps >= 0) & (maps <= 1)).flatten(1).all(1)
        index = int(outside.nonzero()[0])
        values = maps[index][~((maps[index] >= 0) & (maps[index] <= 1))]
        raise ValueError(f"score maps must lie in [0, 1], that of image {start + index} holds {float(values[0])}")
    return (maps.double() * 255).to(torch.uint8)


def _parts(score_maps: Any) -> Iterator[Tensor]:
    """What was given, as (B, H, W) tensors."""
    if hasattr(score_maps, "shape"):
        yield from torch.split(torch.as_tensor(score_maps), _BATCH)
        return
    if not isinstance(score_maps, Iterable):
        raise ValueError(f"score maps must be a tensor, an array or an iterable of them, got {score_maps!r}")
    for given in score_maps:
        item = torch.as_tensor(given)
        yield item[None] if item.dim() == 2 else item


def _whole(values: Any, name: str) -> Tensor:
    """Integers as int64."""
    try:
        tensor = torch.as_tensor(values).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a table of whole numbers: {error}") from error
    if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise ValueError(f"{name} must be whole numbers (int64), got {tensor.dtype}; truncate them yourself")
    return tensor.long()


def _check_corners(boxes: Sequence[Tensor], sizes: Tensor) -> None:
    counts = torch.tensor([len(own) for own in boxes])
    owner = torch.arange(len(boxes)).repeat_interleave(counts)
    joined = torch.cat(list(boxes))
    low, high, size = joined[:, :2], joined[:, 2:], sizes[owner]
    faults = {
        "is inverted: x0 <= x1 and y0 <= y1 are wanted": high < low,
        "has negative corners": low < 0,
        # some releases write the width itself as last column
        "is not inside its image": (low >= size) | (high > size),
    }
    for fault, where in faults.items():
        if where.any():
            first = int(where.any(1).nonzero()[0])
            width, height = size[first].tolist()
            raise ValueError(
                f"image {int(owner[first])}: box {tuple(joined[first].tolist())} {fault}; the image has "
                f"{width}x{height} pixels, boxes are x0, y0, x1, y1 in them"
            )
