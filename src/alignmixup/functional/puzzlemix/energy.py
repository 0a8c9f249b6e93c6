"""The energy of Puzzle Mix masks: what each label costs in each block, and what different neighbours cost."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.arguments import ROUNDING, count, floating, integers, readable, weights
from alignmixup.functional.precision import single
from alignmixup.functional.sampling import to_device
from alignmixup.options import Options, option

_PRIOR_FLOOR = 1e-8  # inside the logarithm, so that λ of 0 or 1 stays finite; as published


@dataclass(kw_only=True)
class PuzzleSearch(Options):
    """What masks of Puzzle Mix are sought: the weights of their energy."""

    beta: float = option(1.2, "weight of a smooth mask, >= 0", paper="1.2", minimum=0)
    gamma: float = option(
        0.5, "weight of smooth images across the boundaries of blocks, in [0, 1]", paper="0.5", minimum=0, maximum=1
    )
    eta: float = option(0.2, "weight of the prior that the mask's mean be λ, >= 0", paper="0.2", minimum=0)
    neighbourhood: int = option(
        4,
        "side in pixels of the cells whose means are compared across boundaries; in blocks that it does not divide, "
        "the largest smaller side that does",
        paper="4, 2 on ImageNet",
        minimum=1,
    )
    labels: int = option(3, "number of mask values, >= 2", paper="3: 0, 1/2 and 1", minimum=2)


@dataclass(frozen=True, eq=False)
class PuzzleEnergy:
    """Energy of masks on a grid of n x n blocks: Σ unary + Σ w (m_p - m_q)² over neighbouring blocks p, q.

    Label t stands for the mask value m = 1 - t / (L - 1): label 0 shows the first image, label L - 1 the partner. The
    batch comes last, since the grid's sides are short and operations run along the last axis.

    Attributes:
        unary: (L, n, n, B) cost of each label of each block.
        vertical: (n - 1, n, B) weight w between a block and the one below it.
        horizontal: (n, n - 1, B) weight between a block and the one to its right.
    """

    unary: Tensor
    vertical: Tensor
    horizontal: Tensor

    def __call__(self, labels: Tensor) -> Tensor:
        """Evaluate labellings (n, n, B) int64; returns (B,)."""
        value = label_values(self.unary)[labels]
        cost = self.unary.gather(0, labels[None]).sum(dim=(0, 1, 2))
        cost = cost + (self.vertical * value.diff(dim=0).square()).sum(dim=(0, 1))
        return cost + (self.horizontal * value.diff(dim=1).square()).sum(dim=(0, 1))


def label_values(unary: Tensor) -> Tensor:
    """Give the mask value of each label, (L,): from 1 down to 0 in equal steps."""
    return torch.linspace(1, 0, unary.shape[0], dtype=unary.dtype, device=unary.device)


def block_shares(saliency: Tensor, blocks: int) -> Tensor:
    """Give each of n x n blocks' share of an image's saliency (B, H, W) >= 0; n divides H and W.

    Returns:
        (B, n, n) float32 (float64 for float64), sums to 1 per image; uniform where the saliency is 0 everywhere, or
        somewhere NaN or infinite. Shares of so many blocks come back as they are.
    """
    floating("saliency", saliency, "B H W")
    if readable(saliency) and (saliency < 0).any():
        raise ValueError(f"saliency must be >= 0, got {float(saliency.min())}: take its absolute value")
    height, width = _block_sides(saliency, blocks)
    pooled = F.avg_pool2d(single(saliency)[:, None], (height, width))[:, 0]
    total = pooled.sum(dim=(1, 2), keepdim=True)
    shares = torch.where((total - 1).abs() <= ROUNDING, pooled, pooled / total)
    return torch.where((total > 0) & total.isfinite(), shares, 1 / blocks**2)


def puzzle_energy(
    saliency: Tensor, images: Tensor, perm: Tensor, lam: Tensor | float, blocks: int, **options: Any
) -> PuzzleEnergy:
    """Build the energy of the masks of a batch; see :func:`alignmixup.functional.puzzlemix_mask` for the arguments."""
    search = PuzzleSearch(**options)
    labels = search.labels
    share = block_shares(saliency, blocks).detach()  # from forward-mode derivatives too, which no_grad lets through
    batch, height, width = saliency.shape
    floating("images", images, "B C H W", like=saliency, B=batch, H=height, W=width)
    if images.numel() and readable(images):
        least, largest = map(float, images.detach().aminmax())
        if least < -ROUNDING or largest > 1 + ROUNDING:  # NaN goes through, as it would on a device
            raise ValueError(f"images must be in [0, 1], not normalised, got values from {least:g} to {largest:g}")
    perm = integers("perm", perm, "B", below=batch, like=saliency, B=batch)
    lam = weights("lam", lam, saliency).detach()
    smoothness = search.beta / (16 * blocks)
    data = smoothness * search.gamma / 2
    cells = _cells(images.detach().to(share.dtype), blocks, search.neighbourhood)
    # showing the first image loses the saliency of its partner, and the other way round
    shown = torch.stack((share[perm], share))
    vertical = _boundary(cells, perm, blocks)
    horizontal = _boundary(cells.transpose(2, 3), perm, blocks).transpose(3, 4)
    for steps, axis in ((vertical, 2), (horizontal, 3)):
        shown.narrow(axis, 0, blocks - 1).add_(steps.sum(1), alpha=data)
        shown.narrow(axis, 1, blocks - 1).add_(steps.sum(0), alpha=data)
    edges = [smoothness + data * (s[0, 1] + s[1, 0] - s[0, 0] - s[1, 1]) for s in (vertical, horizontal)]
    price = shown.permute(0, 2, 3, 1)
    value = torch.linspace(1, 0, labels, dtype=share.dtype, device=share.device).view(-1, 1, 1, 1)
    prior = (search.eta / blocks**2) * _prior(lam, labels, share)[:, None, None]
    unary = value * price[0] + (1 - value) * price[1] + prior
    return PuzzleEnergy(unary.contiguous(), *(w.permute(1, 2, 0).contiguous() for w in edges))


def _block_sides(maps: Tensor, blocks: int) -> tuple[int, int]:
    height, width = maps.shape[-2:]
    if count("blocks", blocks) > min(height, width) or height % blocks or width % blocks:
        raise ValueError(f"images of {height} x {width} do not divide into {blocks} x {blocks} whole blocks")
    return height // blocks, width // blocks


def _cells(images: Tensor, blocks: int, neighbourhood: int) -> Tensor:
    """Average the images over cells: of side ``neighbourhood``, or the largest smaller one that divides a block."""
    sides = _block_sides(images, blocks)
    cell = [max(side for side in range(1, min(neighbourhood, block) + 1) if block % side == 0) for block in sides]
    return F.avg_pool2d(images, cell) if max(cell) > 1 else images


def _boundary(cells: Tensor, perm: Tensor, blocks: int) -> Tensor:
    """Mean absolute step across the boundary of vertically adjacent blocks, for each choice of image on either side.

    Returns:
        (2, 2, B, n - 1, n): image shown above (0: first, 1: partner), image shown below, sample, boundary.
    """
    side = cells.shape[2] // blocks
    above = cells[:, :, side - 1 : -1 : side]
    below = cells[:, :, side::side]
    step = (torch.stack((above, above[perm]))[:, None] - torch.stack((below, below[perm]))).abs()
    return step.view(*step.shape[:-1], blocks, step.shape[-1] // blocks).mean(dim=(3, -1))


def _prior(lam: Tensor, labels: int, like: Tensor) -> Tensor:
    """Negative log of the binomial distribution of the labels, (L, B)."""
    lam = lam.detach().reshape(1, -1)
    partner = torch.arange(labels, dtype=like.dtype, device=like.device)[:, None]
    ways = to_device(
        torch.tensor([math.comb(labels - 1, t) for t in range(labels)], dtype=like.dtype, device="cpu"), like.device
    )
    return -(ways[:, None] * lam ** (labels - 1 - partner) * (1 - lam) ** partner + _PRIOR_FLOOR).log()
