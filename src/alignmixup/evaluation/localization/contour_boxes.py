"""Boxes of score maps at every cut, and how well they match the boxes of the images.

A score map in [0, 1] becomes whole levels in [0, 255]. The foreground at a cut is where the level is larger; a box
goes round each of its contours. As there are 256 cuts at most, a table of 256 columns holds all about any threshold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from alignmixup.functional.native import call, library

if TYPE_CHECKING:
    import numpy as np

CUTS = 256
_WORK = 1000  # multiply-adds that a pixel is worth in C
Contours = Literal["all", "largest"]


@dataclass(frozen=True, eq=False)
class CutTable:
    """Boxes of N score maps at the cuts 0 to 255, and their best match with the boxes of the images.

    Args:
        best_all: (N, 256) float64, largest intersection over union of any box at a cut with any box of the image.
        best_largest: (N, 256) float64, the same of the box round the contour of largest area.
        largest: (N, 256, 4) int32, that box: x0, y0, x1, y1 in pixels of the map.
        counts: (N, 256) int32, boxes at a cut; 1 where there is no foreground, the box (0, 0, 0, 0).
        peaks: (N,) int64, highest level of a map; entries at and above it are not in use (but at 0).
    """

    best_all: Tensor
    best_largest: Tensor
    largest: Tensor
    counts: Tensor
    peaks: Tensor

    def __len__(self) -> int:
        return len(self.peaks)

    def select(self, index: Tensor | slice) -> CutTable:
        """The table of some of the maps."""
        return CutTable(*(getattr(self, field.name)[index] for field in fields(self)))

    def cuts(self, thresholds: Tensor) -> Tensor:
        """Cut of each map, (N, T) int64, at thresholds (T,) float64 in [0, 1): shares of its peak, rounded down."""
        return (thresholds[None, :] * self.peaks[:, None].double()).long()

    def best_iou(self, thresholds: Tensor, contours: Contours) -> Tensor:
        """Best match (N, T) float64 of each map at thresholds (T,) float64 in [0, 1)."""
        table = self.best_all if contours == "all" else self.best_largest
        return table.gather(1, self.cuts(thresholds))

    def largest_at(self, threshold: float) -> Tensor:
        """Box of the largest contour, (N, 4) int32, of each map at one threshold in [0, 1)."""
        cuts = self.cuts(torch.tensor([threshold], dtype=torch.float64))
        return self.largest.gather(1, cuts[:, :, None].expand(-1, -1, 4))[:, 0]


def join(tables: Sequence[CutTable]) -> CutTable:
    """One table of the maps of several."""
    return CutTable(*(torch.cat([getattr(table, field.name) for table in tables]) for field in fields(CutTable)))


def thresholds(step: float) -> Tensor:
    """0, step, 2 step, ... below 1, float64; ValueError for a ``step`` outside [0.0001, 1]."""
    if not 0.0001 <= step <= 1:
        raise ValueError(f"step must be in [0.0001, 1], got {step}; the evaluation of 2020 has 0.001")
    count = -int(-1 / step // 1)
    return torch.arange(count, dtype=torch.float64) * step


def scale_boxes(boxes: Tensor, sizes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Boxes (K, 4) int64 in pixels of their images, of ``sizes`` (K, 2), as boxes in pixels of score maps of a
    ``shape``.

    Convention:
        - Sizes are width and height, the shape is height and width. ``x * map width / image width``, rounded towards
          zero: no offset, no rounding to the nearest.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, released code.
    """
    height, width = shape
    scaled = (boxes * torch.tensor([width, height, width, height])).double()
    return (scaled / sizes.repeat(1, 2).double()).long()


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (M, K) float64 of every box in ``a`` (M, 4) with every box in ``b`` (K, 4): x0, y0, x1,
    y1.

    Convention:
        - corners are pixels that belong to the box: (0, 0, 0, 0) has an area of 1.

    Example:
        >>> import torch
        >>> box_iou(torch.tensor([[1, 2, 5, 6]]), torch.tensor([[3, 1, 4, 5]])) * 27
        tensor([[8.]], dtype=torch.float64)
    """
    a, b = a.long(), b.long()
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    both = (high - low + 1).clamp_min(0).prod(2)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(1) for box in (a, b))
    return both.double() / (area_a[:, None] + area_b - both).double()


def tabulates_natively() -> bool:
    """Whether there is C code to call."""
    return library() is not None


def tabulate_natively(levels: Tensor, boxes: Sequence[Tensor]) -> CutTable:
    """What `tabulate_by_opencv` returns, number for number.

    Some 5 ms a map, where contours at every cut take 0.2 to 4 s: a region that keeps its pixels over several cuts is
    looked at once. Bright regions (8-connected) and the holes in them (4-connected) make trees over the levels, which
    grow pixel by pixel.
    """
    count, height, width = levels.shape
    levels = levels.contiguous()
    truth = torch.cat([*boxes, torch.empty(0, 4, dtype=torch.int64)]).contiguous()
    starts = torch.tensor([0, *map(len, boxes)]).cumsum(0)
    best_all, best_largest = (torch.empty(count, CUTS, dtype=torch.float64) for _ in range(2))
    largest = torch.empty(count, CUTS, 4, dtype=torch.int32)
    counts = torch.empty(count, CUTS, dtype=torch.int32)
    results = (best_all, best_largest, largest, counts)
    work = levels.numel() * _WORK
    call("alignmixup_score_boxes", levels, truth, starts, *results, count, height, width, work=work)
    return CutTable(*results, peaks=levels.flatten(1).amax(1).long())


def tabulate_by_opencv(levels: Tensor, boxes: Sequence[Tensor]) -> CutTable:
    """The table by OpenCV's contours: what the metric is defined by, one cut after the other.

    ``levels`` are (N, H, W) uint8, ``boxes`` N tensors (k, 4) int64 in pixels of the maps. ImportError without OpenCV.
    """
    try:
        import cv2
    except ImportError as error:
        message = 'boxes of score maps need a C compiler (cc) or OpenCV: pip install "alignmixup[evaluate]"'
        raise ImportError(message) from error
    rows = partial(_rows, cv2)
    # OpenCV lets go of the interpreter while it follows contours
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        columns = zip(*pool.map(rows, levels, boxes), strict=True)
        best_all, best_largest, largest, counts = (torch.stack(column) for column in columns)
    return CutTable(best_all, best_largest, largest, counts, peaks=levels.flatten(1).amax(1).long())


def _rows(cv2: Any, levels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four rows of one map."""
    best_all, best_largest = torch.zeros(2, CUTS, dtype=torch.float64)
    largest, counts = torch.zeros(CUTS, 4, dtype=torch.int32), torch.zeros(CUTS, dtype=torch.int32)
    starts = sorted({0, *levels.flatten().tolist()})
    for cut, end in zip(starts, [*starts[1:], CUTS], strict=True):  # in between the foreground is the same
        found, index = contour_boxes(cv2, levels.numpy(), cut)
        match = torch.cat([box_iou(found, truth), torch.zeros(len(found), 1, dtype=torch.float64)], 1).amax(1)
        best_all[cut:end], best_largest[cut:end] = match.max(), match[index]
        largest[cut:end], counts[cut:end] = found[index].int(), len(found)
    return best_all, best_largest, largest, counts


def contour_boxes(cv2: Any, levels: np.ndarray, cut: int) -> tuple[Tensor, int]:
    """Boxes (M, 4) int64 round the contours of one map at one cut, and the index of the one of largest area.

    Convention:
        - inner borders (of holes) are contours too; the area is that of the polygon through pixel centres, and of equal
          areas the first in OpenCV's order counts.
        - right and lower corners are one pixel outside the contour, except at the border of the map: so are published
          numbers.
    """
    import numpy as np

    height, width = levels.shape
    _, foreground = cv2.threshold(levels, cut, 255, cv2.THRESH_BINARY)
    contours = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return torch.zeros(1, 4, dtype=torch.int64), 0
    starts = np.cumsum([0, *map(len, contours[:-1])])
    points = np.concatenate(contours)[:, 0].astype(np.int64)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    corners = np.concatenate([low, np.minimum(high + 1, [width - 1, height - 1])], axis=1)
    return torch.from_numpy(corners), int(np.argmax([cv2.contourArea(contour) for contour in contours]))
