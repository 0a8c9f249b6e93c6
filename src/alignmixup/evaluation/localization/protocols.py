"""Top-1 localisation by the conventions in use, the protocol of the CutMix paper, and a baseline without a network."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from alignmixup.evaluation.localization.box_accuracy import STEP, count_hits, scale_to_maps, tabulate, tabulate_boxes
from alignmixup.evaluation.localization.contour_boxes import Contours, CutTable, box_iou, thresholds
from alignmixup.evaluation.localization.inputs import read_boxes

TOP1_CONVENTIONS = ("fixed-0.15", "at-gtknown-best", "max-top1", "fixed-0.25")
_MATCH = 0.5
_SIGMA = 0.15  # of the CutMix paper
_CUTMIX_SIDES = (256, 224)  # both sides are scaled to the first, the centre of the second is what the network sees


def top1_localization(
    table: CutTable, correct: Tensor, *, contours: Contours = "largest", step: float = STEP
) -> dict[str, float]:
    """Percent of the images whose class is right and whose best match is at least 0.5, by each convention.

    Convention:
        - they differ in the threshold, a share of each map's maximum: "fixed-0.15" (CutMix paper) and "fixed-0.25"
          (Co-Mixup on ImageNet) prescribe it, "at-gtknown-best" is the first that is best when classes do not count,
          "max-top1" the best for this very number. The last is never below the one before.
        - ``table`` is of the true classes' maps, ``correct`` (N,) bool says whether the predicted class is right, else
          ValueError; ``step`` is the distance between thresholds where one is chosen.

    Source:
        "fixed-0.15": Yun et al., CutMix, ICCV 2019, supplementary. "max-top1": later forks of the code of Choe et al.,
        CVPR 2020, which itself reports no such number. "fixed-0.25": Kim et al., Co-Mixup, ICLR 2021, released code.
    """
    _check_correct(correct, len(table))
    at = thresholds(step)
    top1 = count_hits(table, at, contours=contours, iou=[_MATCH], correct=correct)[0]
    known = count_hits(table, at, contours=contours, iou=[_MATCH])[0]
    prescribed = torch.tensor([0.15, 0.25], dtype=torch.float64)
    fixed = count_hits(table, prescribed, contours=contours, iou=[_MATCH], correct=correct)[0].tolist()
    values = (fixed[0], float(top1[known.argmax()]), float(top1.max()), fixed[1])
    return dict(zip(TOP1_CONVENTIONS, values, strict=True))


def cutmix_localization(
    score_maps: Tensor | Iterable[Any], boxes: Sequence[Any], image_sizes: Any, correct: Tensor
) -> float:
    """Top-1 localisation in percent by the protocol of the CutMix paper, on maps of its centre crop.

    The network sees the centre 224x224 of the image scaled to 256x256. The map is cut at 0.15 of its maximum; the box
    round the largest region must match by more than 0.5 (not: at least), and the class must be right.

    Convention:
        - the paper does not say how boxes get into the crop: here they are scaled to 256x256, truncated, shifted by -16
          and clipped. What lies outside the crop cannot be hit; such images count.
        - pixels are counted as everywhere here (see `contour_boxes`); the paper is silent.
        - maps, of any size, are those of the crop; other arguments and errors as `box_accuracy` and
          `top1_localization`.

    Source:
        Yun et al., CutMix, ICCV 2019, section on weakly supervised localisation.
    """
    return cutmix_top1(tabulate_crops(score_maps, boxes, image_sizes), correct)


def tabulate_crops(score_maps: Tensor | Iterable[Any], boxes: Sequence[Any], image_sizes: Any) -> CutTable:
    """The table of maps of the CutMix paper's crops; see `cutmix_localization`."""
    truth, sizes = read_boxes(boxes, image_sizes)
    cropped, crop = crop_boxes(truth, sizes), torch.full_like(sizes, _CUTMIX_SIDES[1])
    return tabulate(score_maps, lambda shape: scale_to_maps(cropped, crop, shape), count=len(truth))


def cutmix_top1(table: CutTable, correct: Tensor) -> float:
    """The number of `cutmix_localization` from the table of `tabulate_crops`."""
    _check_correct(correct, len(table))
    match = table.best_iou(torch.tensor([_SIGMA], dtype=torch.float64), "largest")[:, 0]
    return float(100.0 * ((match > _MATCH) & correct).double().mean())


def crop_boxes(boxes: Sequence[Tensor], sizes: Tensor) -> list[Tensor]:
    """Boxes (k, 4) in pixels of the CutMix paper's crop; those outside it are left out."""
    scaled, crop = _CUTMIX_SIDES
    cropped = []
    for own in scale_to_maps(boxes, sizes, (scaled, scaled)):
        shifted = own - (scaled - crop) // 2
        inside = (shifted[:, 2:] >= 0).all(1) & (shifted[:, :2] < crop).all(1)
        cropped.append(shifted[inside].clamp(0, crop - 1))
    return cropped


def centred_gaussian(size: int) -> Tensor:
    """A score map (1, size, size) float64 that knows nothing of the image: the brighter, the closer to the centre."""
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    squared = along[:, None] ** 2 + along[None, :] ** 2
    bell = torch.exp(-squared / (2 * (size / 4) ** 2))
    return ((bell - bell.min()) / (bell.max() - bell.min()))[None]


def tabulate_centre(boxes: Sequence[Any], image_sizes: Any, *, size: int = 224) -> CutTable:
    """The table of a centred Gaussian, ``size`` a side, as the score map of every image: what a network must beat.

    Boxes and sizes as for `box_accuracy`.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020 (centre baseline).
    """
    truth, sizes = read_boxes(boxes, image_sizes)
    one = tabulate_boxes(centred_gaussian(size), [[[0, 0, 0, 0]]], [(size, size)])
    # it has one region at each cut: its boxes are the same for all images, and "all" are "largest"
    match = torch.stack([box_iou(one.largest[0], own).amax(1) for own in scale_to_maps(truth, sizes, (size, size))])
    count = len(truth)
    return CutTable(
        best_all=match,
        best_largest=match,
        largest=one.largest.expand(count, -1, -1),
        counts=one.counts.expand(count, -1),
        peaks=one.peaks.expand(count),
    )


def _check_correct(correct: Tensor, count: int) -> None:
    if correct.dtype != torch.bool or correct.shape != (count,):
        raise ValueError(f"correct must be bool of shape ({count},), got {correct.dtype} of {tuple(correct.shape)}")
