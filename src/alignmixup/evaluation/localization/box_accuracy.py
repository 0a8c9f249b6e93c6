"""Weakly supervised localisation: MaxBoxAcc and MaxBoxAccV2 of score maps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from alignmixup.evaluation.localization.contour_boxes import (
    Contours,
    CutTable,
    join,
    scale_boxes,
    tabulate_by_opencv,
    tabulate_natively,
    tabulates_natively,
    thresholds,
)
from alignmixup.evaluation.localization.inputs import read_boxes, read_levels

STEP = 0.001
IOU = (0.3, 0.5, 0.7)
_TOGETHER = 256  # maps that are tabulated together
_PART = 4096  # maps whose (maps, T) matches are in memory together


@dataclass(frozen=True, eq=False)
class BoxAccuracy:
    """Share of images in which a box round a contour of the score map matches a box of the image.

    Convention:
        - MaxBoxAcc as published is ``max_box_acc`` of ``contours="largest"``, MaxBoxAccV2 as published is
          ``max_box_acc_v2`` of ``contours="all"``. Each is defined for either choice.
        - one threshold serves all images; it is chosen on these images, for each level of match separately.

    Args:
        contours: which contours of a map count: "all", or the one of "largest" area.
        iou: levels of intersection over union from which on a box matches.
        thresholds: (T,) float64, shares of a map's maximum.
        curves: (len(iou), T) float64, percent of the images whose match reaches the level at the threshold.
        max_box_acc: largest percentage over the thresholds at a level of 0.5, whether ``iou`` holds it or not.
        table: boxes of all maps at all cuts.
    """

    contours: Contours
    iou: tuple[float, ...]
    thresholds: Tensor
    curves: Tensor
    max_box_acc: float
    table: CutTable

    @property
    def max_box_acc_at(self) -> Tensor:
        """(len(iou),) float64, the largest percentage over the thresholds at each level."""
        return self.curves.amax(1)

    @property
    def max_box_acc_v2(self) -> float:
        """Mean over the levels of the largest percentages, each at its own threshold."""
        return float(self.max_box_acc_at.mean())

    @property
    def best_thresholds(self) -> Tensor:
        """(len(iou),) float64, the first threshold with the largest percentage, for each level."""
        return self.thresholds[self.curves.argmax(1)]

    @property
    def best_iou(self) -> Tensor:
        """(N, T) float64, best match of each map at each threshold; computed when asked for."""
        return self.table.best_iou(self.thresholds, self.contours)


def box_accuracy(
    score_maps: Tensor | Iterable[Any],
    boxes: Sequence[Any],
    image_sizes: Any,
    *,
    contours: Contours = "all",
    step: float = STEP,
    iou: Sequence[float] = IOU,
) -> BoxAccuracy:
    """Box accuracy of score maps: MaxBoxAcc (``contours="largest"``) and MaxBoxAccV2 (``contours="all"``).

    A map becomes levels, ``floor(255 * map)``. At a threshold t its foreground is where the level is larger than
    ``floor(t * largest level)``; a box goes round each contour (or the largest). An image is a hit at a level of match
    where the best box reaches that intersection over union with any box of the image.

    Convention:
        - boxes are x0, y0, x1, y1; both corners belong to the box; they are scaled to the map and truncated.
        - a map without foreground has the one box (0, 0, 0, 0). All images count.

    Args:
        score_maps: (N, H, W) tensor or array in [0, 1], float32 or float64; or an iterable of maps (H, W) or of batches
            of maps, which is read piece by piece.
        boxes: for each image whole numbers (k, 4), k >= 1, in pixels of the original image.
        image_sizes: (N, 2) whole numbers, width and height of the original images.
        contours: which contours of a map count.
        step: distance between thresholds, in [0.0001, 1]. Paper: 0.001.
        iou: levels of match, in (0, 1]. Paper: 0.3, 0.5, 0.7.

    Returns:
        Accuracies, curves over the thresholds, best thresholds and matches.

    Raises:
        ValueError: an option out of range; maps, boxes or sizes that are not as above: the message names the image.
        ImportError: there is neither a C compiler nor OpenCV.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020 (MaxBoxAcc), and its
        extension Evaluation for Weakly Supervised Object Localization, TPAMI 2022 (MaxBoxAccV2); the conventions are
        those of the released code.

    Example:
        >>> import torch
        >>> score_map = torch.zeros(1, 8, 8)
        >>> score_map[0, 2:5, 2:5] = 1
        >>> box_accuracy(score_map, [torch.tensor([[2, 2, 5, 5]])], [(8, 8)]).max_box_acc_v2
        100.0
    """
    check_options(contours, step, iou)
    return count_accuracy(tabulate_boxes(score_maps, boxes, image_sizes), contours=contours, step=step, iou=iou)


def tabulate_boxes(score_maps: Tensor | Iterable[Any], boxes: Sequence[Any], image_sizes: Any) -> CutTable:
    """Boxes of score maps at all cuts and their matches, from which every accuracy is counted.

    Arguments and errors as `box_accuracy`.
    """
    truth, sizes = read_boxes(boxes, image_sizes)
    return tabulate(score_maps, lambda shape: scale_to_maps(truth, sizes, shape), count=len(truth))


def scale_to_maps(boxes: Sequence[Tensor], sizes: Tensor, shape: tuple[int, int]) -> list[Tensor]:
    """Boxes (k, 4) of every image in pixels of its map of a ``shape``."""
    counts = [len(own) for own in boxes]
    joined = scale_boxes(torch.cat(list(boxes)), sizes.repeat_interleave(torch.tensor(counts), 0), shape)
    return list(torch.split(joined, counts))


def tabulate(score_maps: Any, boxes_on_maps: Callable[[tuple[int, int]], Sequence[Tensor]], *, count: int) -> CutTable:
    """The table of ``count`` score maps (see `box_accuracy`).

    ``boxes_on_maps`` takes height and width of the maps and gives the boxes (k, 4) int64 of all images in pixels of
    them. ValueError where the maps are not as they must be, or more or fewer.
    """
    tables: list[CutTable] = []
    done, truth = 0, None
    for levels in _grouped(read_levels(score_maps)):
        if truth is None:
            truth = boxes_on_maps((levels.shape[1], levels.shape[2]))
        own = truth[done : done + len(levels)]
        done += len(levels)
        if done > count:
            break
        tables.append(tabulate_natively(levels, own) if tabulates_natively() else tabulate_by_opencv(levels, own))
    if done != count:
        raise ValueError(f"there are {'more' if done > count else done} score maps for the boxes of {count} images")
    return join(tables)


def count_accuracy(
    table: CutTable, *, contours: Contours = "all", step: float = STEP, iou: Sequence[float] = IOU
) -> BoxAccuracy:
    """Box accuracy from a table of boxes; see `box_accuracy`."""
    check_options(contours, step, iou)
    at = thresholds(step)
    curves = count_hits(table, at, contours=contours, iou=[*iou, 0.5])
    return BoxAccuracy(contours, tuple(iou), at, curves[:-1], float(curves[-1].max()), table)


def count_hits(
    table: CutTable, at: Tensor, *, contours: Contours, iou: Sequence[float], correct: Tensor | None = None
) -> Tensor:
    """Percent of all images that are hits, (len(iou), T) float64.

    ``at`` (T,) float64 are the thresholds; with ``correct`` (N,) bool, only these images can be hits.
    """
    hits = torch.zeros(len(iou), len(at), dtype=torch.int64)
    for start in range(0, len(table), _PART):
        part = slice(start, start + _PART)
        match = table.select(part).best_iou(at, contours)
        if correct is not None:
            match = match[correct[part]]
        hits += torch.stack([(match >= level).sum(0) for level in iou])
    return 100.0 * hits.double() / len(table)


def check_options(contours: str, step: float, iou: Sequence[float]) -> None:
    """Refuse options before the work: ValueError for one out of range."""
    if contours not in get_args(Contours):
        raise ValueError(f'contours must be "all" or "largest", got {contours!r}')
    if not iou or not all(0 < level <= 1 for level in iou):
        raise ValueError(f"iou must hold levels in (0, 1], got {tuple(iou)}")
    thresholds(step)


def _grouped(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """Maps that come one by one in batches that are worth starting threads for."""
    waiting: list[Tensor] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= _TOGETHER:
            yield torch.cat(waiting)
            waiting = []
    if waiting:
        yield torch.cat(waiting)
