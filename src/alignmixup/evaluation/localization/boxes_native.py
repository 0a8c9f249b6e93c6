"""The table of boxes in C, all cuts of a map at once: some 5 ms a map; contours at every cut take 0.2 to 4 s."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alignmixup.evaluation.localization.contour_boxes import CUTS, CutTable
from alignmixup.functional.native import call, library

_WORK = 1000  # multiply-adds that a pixel is worth


def tabulates_natively() -> bool:
    """Whether there is C code to call."""
    return library() is not None


def tabulate_natively(levels: Tensor, boxes: Sequence[Tensor]) -> CutTable:
    """What `contour_boxes.tabulate_by_opencv` returns, number for number.

    A region that keeps its pixels over several cuts is looked at once: bright regions (8-connected) and the holes in
    them (4-connected) make trees over the levels, which grow pixel by pixel.
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
