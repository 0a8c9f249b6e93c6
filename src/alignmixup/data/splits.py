"""Which images a run uses: the first per class, evenly spaced ones, or a part held out."""

import torch
from torch import Tensor

__all__ = ["evenly_spaced", "first_per_class", "hold_out"]


def first_per_class(labels: Tensor, count: int) -> Tensor:
    """Indices (M,) int64 of the first ``count`` images of each class, ascending; a class with fewer gives all it has.

    Raises:
        ValueError: ``count`` is no integer >= 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"subset must be a number of images per class >= 1, got {count!r}")
    return (_rank_in_class(labels) < count).nonzero().flatten()


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
