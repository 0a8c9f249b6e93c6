"""Pairs of images for measures and pictures of mixing."""

from typing import Literal, get_args

import torch
from torch import Tensor

Classes = Literal["same", "different", "any"]


def draw_pairs(labels: Tensor, count: int, *, classes: Classes = "any", generator: torch.Generator) -> Tensor:
    """Draw ``count`` pairs of different images of ``labels`` (N,), uniformly among those whose classes are as asked.

    Every image comes first once before one comes first twice; its partner is any allowed image, each as likely: of the
    ``"same"`` class, of ``"different"`` ones, or of ``"any"``. The generator is the CPU's.

    Returns:
        (count, 2) int64 indices, the first example and its partner.

    Raises:
        ValueError: an option out of range, or there is no such pair.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> draw_pairs(torch.tensor([0, 0, 1]), 1, classes="same", generator=generator).sum().item()
        1
    """
    if count < 1:
        raise ValueError(f"the number of pairs must be >= 1, got {count}")
    if classes not in get_args(Classes):
        raise ValueError(f"classes must be one of {', '.join(get_args(Classes))}, got {classes!r}")
    # Images sorted by class: those of a class are a block [begin, end), and the allowed partners are that block without
    # the image itself, everything but the block, or everything but the image.
    order = labels.cpu().argsort(stable=True)
    ranks = labels.cpu()[order]
    total = len(order)
    begin, end = torch.searchsorted(ranks, ranks), torch.searchsorted(ranks, ranks, right=True)
    own = torch.arange(total)
    if classes == "same":
        allowed, start, gap = end - begin - 1, begin, (own, torch.ones_like(own))
    elif classes == "different":
        allowed, start, gap = total - (end - begin), torch.zeros_like(own), (begin, end - begin)
    else:
        allowed, start, gap = torch.full_like(own, total - 1), torch.zeros_like(own), (own, torch.ones_like(own))
    usable = torch.nonzero(allowed > 0).flatten()
    if not len(usable):
        wanted = {"same": "of the same class", "different": "of different classes", "any": "at all"}[classes]
        raise ValueError(f"there are no two images {wanted} among {total}: choose other --classes, or more images")
    rounds = -(-count // len(usable))
    shuffled = [usable[torch.randperm(len(usable), generator=generator)] for _ in range(rounds)]
    first = torch.cat(shuffled)[:count]
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    partner = start[first] + (uniform * allowed[first]).long().clamp_max(allowed[first] - 1)
    where, width = gap
    partner += torch.where(partner >= where[first], width[first], 0)
    return torch.stack([order[first], order[partner]], dim=1)
