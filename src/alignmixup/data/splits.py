"""Which images a run uses: the first per class, fewer from class to class, evenly spaced ones, a part held out."""

import math

import torch
from torch import Tensor

__all__ = ["check_thinning", "evenly_spaced", "first_per_class", "hold_out", "long_tailed"]


def first_per_class(labels: Tensor, count: int) -> Tensor:
    """Indices (M,) int64 of the first ``count`` images of each class, ascending; a class with fewer gives all it has.

    Raises:
        ValueError: ``count`` is no integer >= 1.
    """
    check_thinning(subset=count)
    return (_rank_in_class(labels) < count).nonzero().flatten()


def check_thinning(*, subset: int | None = None, imbalance: float = 1) -> None:
    """Refuse what ``data.load`` cannot thin training images out by, whether it will have any or not."""
    if subset is not None and (isinstance(subset, bool) or not isinstance(subset, int) or subset < 1):
        raise ValueError(f"subset must be a number of images per class >= 1, got {subset!r}")
    if isinstance(imbalance, bool) or not isinstance(imbalance, int | float) or not 1 <= imbalance < math.inf:
        raise ValueError(f"imbalance must be a number >= 1, got {imbalance!r}")


def long_tailed(labels: Tensor, imbalance: float, *, num_classes: int) -> Tensor:
    """Indices (M,) int64, ascending, of ever fewer images from the first class to the last.

    Of n images of class 0, class c of C keeps its first floor(n * imbalance^(-c / (C - 1))), or all where it has fewer.

    Source:
        Cui, Jia, Lin, Song, Belongie, Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; Cao, Wei,
        Gaidon, Arechiga, Ma, Learning Imbalanced Datasets with LDAM Loss, NeurIPS 2019 ("long-tailed CIFAR").

    Args:
        labels: (N,) int64 in [0, C).
        imbalance: how many times more images the first class has than the last, in [1, n].
        num_classes: C >= 2.

    Raises:
        ValueError: ``imbalance`` out of range, or a single class.
    """
    check_thinning(imbalance=imbalance)
    first = int((labels == 0).sum())
    if imbalance == 1:
        return torch.arange(len(labels))
    if num_classes < 2:
        raise ValueError(f"imbalance={imbalance} is between classes, and there is one class: leave it out")
    if imbalance > first:
        raise ValueError(
            f"imbalance={imbalance} leaves the last class no image, since the first has {first}: "
            "take more images of each class, or a smaller imbalance"
        )
    # the rounding of a power must not cost an image where the result is a whole number
    wanted = [int(first / imbalance ** (c / (num_classes - 1)) + 1e-9) for c in range(num_classes)]
    return (_rank_in_class(labels) < torch.tensor(wanted)[labels]).nonzero().flatten()


def evenly_spaced(count: int, wanted: int) -> Tensor:
    """``wanted`` of ``count`` indices, (wanted,) int64, ascending, without repetition where ``wanted`` <= ``count``.

    Images of a data set often lie class by class.
    """
    return torch.arange(wanted) * count // max(wanted, 1)


def hold_out(labels: Tensor, amount: int | float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Split the images in two at random, each class in proportion.

    Args:
        labels: (N,) int64.
        amount: images to hold out: a number in [1, N), or a fraction in (0, 1), which is rounded to a number.
        seed: the only thing that the choice depends on, beside the labels.

    Returns:
        Indices of the kept and of the held-out images, both ascending; of each class as many are held out as its share,
        up to one.

    Raises:
        ValueError: ``amount`` out of range.
    """
    total = len(labels)
    is_fraction = isinstance(amount, float) and 0 < amount < 1
    is_number = isinstance(amount, int) and not isinstance(amount, bool) and 1 <= amount < total
    if not is_fraction and not is_number:
        raise ValueError(
            f"validation must be a number of images in [1, {total}) or a fraction in (0, 1), got {amount!r}"
        )
    wanted = round(amount * total) if is_fraction else int(amount)
    if not 1 <= wanted < total:
        raise ValueError(f"validation={amount!r} of {total} images holds out {wanted}; expected 1 to {total - 1}")
    quota = _proportional(torch.bincount(labels), wanted)
    shuffled = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(total, dtype=torch.bool)
    held[shuffled] = _rank_in_class(labels[shuffled]) < quota[labels[shuffled]]
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def _rank_in_class(labels: Tensor) -> Tensor:
    """For each image, how many earlier ones have its label."""
    by_class = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank


def _proportional(counts: Tensor, wanted: int) -> Tensor:
    """``wanted`` shared out in proportion to ``counts``, by largest remainders."""
    scaled = counts * wanted  # integers: no rounding decides who gets the rest
    total = int(counts.sum())
    quota = scaled // total
    rest = wanted - int(quota.sum())
    largest = (scaled % total).argsort(descending=True, stable=True)[:rest]
    quota[largest] += 1
    return quota
