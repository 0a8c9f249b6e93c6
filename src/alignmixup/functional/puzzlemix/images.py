"""Puzzle Mix: masks that keep salient blocks, moves of salient blocks into view, and the mixed images."""

import torch
from torch import Tensor

from alignmixup.functional.arguments import floating, integers, paired, readable, whole_batches
from alignmixup.functional.precision import where_wide, without_autocast
from alignmixup.functional.puzzlemix.auction import auction
from alignmixup.functional.puzzlemix.energy import PuzzleSearch, block_shares, puzzle_energy
from alignmixup.functional.puzzlemix.solver import solve_puzzle
from alignmixup.functional.threads import one_thread


@whole_batches
def puzzlemix_mask(
    saliency: Tensor,
    images: Tensor,
    perm: Tensor,
    lam: Tensor | float,
    blocks: int,
    *,
    beta: float = PuzzleSearch.beta,
    gamma: float = PuzzleSearch.gamma,
    eta: float = PuzzleSearch.eta,
    neighbourhood: int = PuzzleSearch.neighbourhood,
    labels: int = PuzzleSearch.labels,
) -> Tensor:
    """Choose for each block how much of either image it shows, so that little saliency is lost.

    Minimises, over masks m with values 0, 1 / (L - 1), ..., 1 on n x n blocks,

        Σ [m U¹ + (1 - m) U⁰ - (η / n²) log p(m)] + Σ w (m_p - m_q)² over neighbouring blocks p, q

    with the saliency and the boundary steps that a block loses or makes by showing the first image (U¹) or the partner
    (U⁰), weights w >= 0 from β, γ and the boundary steps, and p the binomial distribution of L - 1 draws with mean λ.

    Convention:
        - the mask weighs the FIRST image: 1 shows it, 0 its partner.

    Args:
        saliency: (B, H, W) >= 0, any scale; all 0 counts as uniform.
        images: (B, C, H, W) in [0, 1], not normalised.
        perm: (B,) integer partner of each sample.
        lam: expected weight of the first image, in [0, 1]: one number, or (B,).
        blocks: blocks n on a side; divides H and W.
        beta: weight of a smooth mask, >= 0. Paper: 1.2.
        gamma: weight of smooth images at the boundaries between blocks, in [0, 1]. Paper: 0.5.
        eta: weight of the prior, >= 0. Paper: 0.2.
        neighbourhood: side in pixels of the cells whose means are compared across boundaries; in blocks that it does
            not divide, the largest smaller side that does. Paper: 4, and 2 on ImageNet.
        labels: number L of mask values, >= 2. Paper: 3.

    Returns:
        (B, n, n) float32 (float64 for float64 saliency). Not differentiable. Runs without waiting for the device.

    Source:
        Kim et al., Puzzle Mix, ICML 2020, Eqs. (3) to (6), and its published code for the scales.

    Example:
        >>> import torch
        >>> saliency = torch.zeros(2, 8, 8)
        >>> saliency[0, :, :4], saliency[1, :, 4:] = 1, 1  # salient on the left, and on the right
        >>> puzzlemix_mask(saliency, torch.zeros(2, 3, 8, 8), torch.tensor([1, 0]), 0.5, 2)[0]
        tensor([[1., 0.],
                [1., 0.]])
    """
    floating("saliency", saliency, "B H W")
    with torch.no_grad(), without_autocast(saliency), one_thread(saliency):
        options = {"beta": beta, "gamma": gamma, "eta": eta, "neighbourhood": neighbourhood, "labels": labels}
        energy = puzzle_energy(saliency, images, perm, lam, blocks, **options)
        found = solve_puzzle(energy).permute(2, 0, 1)
        return ((labels - 1 - found).to(energy.unary.dtype) / (labels - 1)).contiguous()


@whole_batches
def puzzlemix_energy(  # noqa: D417 - options that are told above
    mask: Tensor,
    saliency: Tensor,
    images: Tensor,
    perm: Tensor,
    lam: Tensor | float,
    *,
    beta: float = PuzzleSearch.beta,
    gamma: float = PuzzleSearch.gamma,
    eta: float = PuzzleSearch.eta,
    neighbourhood: int = PuzzleSearch.neighbourhood,
    labels: int = PuzzleSearch.labels,
) -> Tensor:
    """Evaluate what :func:`puzzlemix_mask` minimises.

    Args:
        mask: (B, n, n) with values 0, 1 / (L - 1), ..., 1.
        saliency: (B, H, W) >= 0.
        images: (B, C, H, W) in [0, 1].
        perm: (B,) partners.
        lam: weight of the first image.
        beta, gamma, eta, neighbourhood, labels: as in :func:`puzzlemix_mask`.

    Returns:
        (B,) float32, float64 for float64 saliency.

    Example:
        >>> import torch
        >>> saliency = torch.zeros(2, 8, 8)
        >>> saliency[0, :, :4], saliency[1, :, 4:] = 1, 1
        >>> images, perm = torch.zeros(2, 3, 8, 8), torch.tensor([1, 0])
        >>> mask = puzzlemix_mask(saliency, images, perm, 0.5, 2)
        >>> least = puzzlemix_energy(mask, saliency, images, perm, 0.5)
        >>> bool((least < puzzlemix_energy(1 - mask, saliency, images, perm, 0.5)).all())
        True
    """
    floating("saliency", saliency, "B H W")
    _check_mask(mask, saliency)
    options = {"beta": beta, "gamma": gamma, "eta": eta, "neighbourhood": neighbourhood, "labels": labels}
    with torch.no_grad(), without_autocast(saliency):
        energy = puzzle_energy(saliency, images, perm, lam, mask.shape[-1], **options)
        return energy(_labels(mask, labels).permute(1, 2, 0))


@whole_batches
def puzzlemix_transport(mask: Tensor, saliency: Tensor, *, cost_weight: float = 0.8) -> Tensor:
    """Choose which block of an image to show at each place, so that salient blocks come into view.

    Moving block a to place b costs Q(a, b) = ε d(a, b)² / (n - 1)² - s(a) [m(b) > 0] with the distance d in blocks.
    In each of n rounds every block bids for its cheapest place (the first of equal ones), each place keeps its cheapest
    bid, and 1 is added to the price of every other bid. What the last round keeps is the plan: a partial permutation,
    as good for the visible places as the optimal assignment in most cases.

    Convention:
        - for the first images pass their mask, for the partners ``1 - mask`` and ``saliency[perm]``.

    Args:
        mask: (B, n, n) weights of the images that are moved; places with weight 0 cannot be seen.
        saliency: (B, H, W) >= 0 of the same images, any scale; n divides H and W. It is pooled to the blocks' shares,
            whose sum is 1, as in the paper: (B, n, n) shares stay as they are. An image with a value that is not
            finite, or with none above 0, counts as uniform.
        cost_weight: ε >= 0. Paper: 0.8.

    Returns:
        (B, n²) int64: the block shown at each place, blocks and places numbered row by row; -1 where none is. Bids
        at a cost >= 0 are not kept, so places out of view stay empty (but for block 0, which keeps its own place). All
        places in view are filled: a block without saliency counts as of 2^-34, and so keeps its own where no other one
        comes.

    Source:
        Kim et al., Puzzle Mix, ICML 2020, section 4.2 and algorithm 1, and its published code. Deviation: blocks
        without saliency, whose places in view the code leaves empty and the paper does not.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])  # the right half shows the image
        >>> saliency = torch.tensor([[[0.9, 0.0], [0.0, 0.1]]])  # but its upper left block is the salient one
        >>> puzzlemix_transport(mask, saliency)
        tensor([[-1,  0, -1,  3]])
    """
    floating("saliency", saliency, "B H W")
    _check_mask(mask, saliency)
    if not 0 <= cost_weight < torch.inf:
        raise ValueError(f"cost_weight must be >= 0 and finite, got {cost_weight}")
    with torch.no_grad(), without_autocast(mask), one_thread(mask):
        share = block_shares(saliency, mask.shape[1])
        return auction(where_wide(mask), where_wide(share), cost_weight).to(mask.device)


@whole_batches
def puzzlemix(
    x: Tensor, perm: Tensor, mask: Tensor, plans: tuple[Tensor, Tensor] | None = None, partner: Tensor | None = None
) -> Tensor:
    """Mix images block by block, after moving their blocks.

    Convention:
        - ``mask`` weighs the first image, ``plans`` are those of the first images and of their partners.

    Args:
        x: (B, C, H, W) images.
        perm: (B,) integer partner of each image.
        mask: (B, n, n) weights of the first image; n divides H and W.
        plans: two (B, n²) plans of :func:`puzzlemix_transport`; None leaves the blocks where they are.
        partner: (B, C, H, W) images from which the partners are taken, by ``perm``; None for ``x``.

    Returns:
        Shape, dtype, device and memory format of ``x``; half precision is computed in float32. Places that a plan
        leaves empty are 0.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
        >>> mask = torch.tensor([[1.0, 0.0], [0.5, 0.0]]).expand(2, 2, 2)
        >>> puzzlemix(x, torch.tensor([1, 0]), mask)[0]
        tensor([[[1.0000, 2.0000],
                 [1.5000, 2.0000]]])
    """
    perm = paired("x", x, perm, "B C H W")
    batch, channels, height, width = x.shape
    _check_mask(mask, x)
    blocks = mask.shape[-1]
    if height % blocks or width % blocks:
        raise ValueError(f"images of {height} x {width} do not divide into the {blocks} x {blocks} blocks of the mask")
    for number, plan in enumerate(plans or ()):
        integers(f"plans[{number}]", plan, "B n²", low=-1, below=blocks**2, like=x, **{"B": batch, "n²": blocks**2})
    if partner is not None:
        floating("partner", partner, "B C H W", like=x, B=batch, C=channels, H=height, W=width)
    weight = mask.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
    place = torch.arange(blocks**2, device=x.device).expand(len(x), -1)
    plan, partner_plan = (plan.long() for plan in plans) if plans else (place, place)
    sample = torch.arange(len(x), device=x.device)
    first = _moved(_tiles(x, blocks), sample, plan, weight)
    mixed = first + _moved(_tiles(x if partner is None else partner, blocks), perm, partner_plan, 1 - weight)
    height, width = height // blocks, width // blocks
    mixed = mixed.to(x.dtype).view(batch, blocks, blocks, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    result = torch.empty_like(x)
    result.view(batch, channels, blocks, height, blocks, width).copy_(mixed)
    return result


def _check_mask(mask: Tensor, like: Tensor) -> None:
    """Check a mask (B, n, n) in [0, 1]; NaN goes through, as it would on a device."""
    side = mask.shape[-1] if isinstance(mask, Tensor) and mask.ndim else 0
    floating("mask", mask, "B n n", like=like, B=len(like), n=side)
    if readable(mask) and ((mask < 0) | (mask > 1)).any():
        least, largest = map(float, mask.aminmax())
        raise ValueError(f"mask must be in [0, 1], got values from {least} to {largest}")


def _labels(mask: Tensor, count: int) -> Tensor:
    """The labels that a mask's values stand for, int64; other values are refused on the CPU."""
    place = (1 - mask) * (count - 1)
    labels = place.round()
    if readable(mask):
        between = ~((place - labels).abs() <= 1e-2)  # half precision is rounded; NaN compares as false
        if between.any():
            raise ValueError(
                f"mask must hold multiples of 1 / {count - 1} for labels={count}, got {float(mask[between][0]):g}: "
                "give the `labels` that it was found with"
            )
    return labels.long()


def _tiles(x: Tensor, blocks: int) -> Tensor:
    """Cut images into blocks, (B n², C h w)."""
    batch, channels, height, width = x.shape
    tiles = x.view(batch, channels, blocks, height // blocks, blocks, width // blocks)
    size = channels * (height // blocks) * (width // blocks)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch * blocks**2, size)


def _moved(tiles: Tensor, sample: Tensor, plan: Tensor, weight: Tensor) -> Tensor:
    """Gather blocks of ``sample`` (B,) as planned and weigh them, (B n², C h w)."""
    index = sample[:, None] * plan.shape[1] + plan.clamp(min=0)
    weight = weight.masked_fill(plan < 0, 0.0)
    return tiles.index_select(0, index.view(-1)) * weight.reshape(-1, 1)
