"""Random draws of one batch: mixing coefficients, partners, boxes, starts. The only file that consumes a generator.

Everything is drawn on the CPU in float64 and moved afterwards, so one seed gives the same draw on every device.
``generator`` is a CPU generator, which the call advances.
"""

import math

import torch
from torch import Generator, Tensor

from alignmixup.functional.arguments import count, integers, readable, weights
from alignmixup.functional.precision import widest


def beta(alpha: float, size: int, *, generator: Generator) -> Tensor:
    """Draw mixing coefficients λ ~ Beta(α, α).

    Args:
        alpha: parameter of the symmetric Beta distribution, > 0; 1 is uniform.
        size: number of independent draws.
        generator: CPU generator, advanced by the call.

    Returns:
        (size,) float64 on the CPU, in [0, 1].

    Example:
        >>> import torch
        >>> lam = beta(2.0, 1000, generator=torch.Generator().manual_seed(0))
        >>> lam.shape, lam.dtype, bool(abs(lam.mean() - 0.5) < 0.02)
        (torch.Size([1000]), torch.float64, True)
    """
    first, second = _log_gamma(alpha, 2, count("size", size, least=0), generator).unbind()
    return (first - second).sigmoid_()


def one_beta(alpha: float, *, generator: Generator) -> float:
    """Draw one λ as :func:`beta` does, in Python's numbers: faster, and equal but for the rounding of float64."""
    shape = torch.full((2,), _checked_alpha(alpha) + 1.0, dtype=torch.float64, device="cpu")
    gammas = torch._standard_gamma(shape, generator=generator).tolist()
    uniforms = torch.rand(2, dtype=torch.float64, device="cpu", generator=generator).tolist()
    first, second = (
        math.log(max(gamma, 1e-300)) + math.log(max(number, 1e-300)) / max(alpha, 1e-300)
        for gamma, number in zip(gammas, uniforms, strict=True)
    )
    odds = math.exp(-abs(first - second))  # at most 1: the other way round it can overflow
    return (1.0 if first >= second else odds) / (1.0 + odds)


def _checked_alpha(alpha: float) -> float:
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha must be a positive finite number, got {alpha}")
    return alpha


def partner_share(alpha: float) -> float:
    """Give how much of the other image a mixture has on average, E min(λ, 1 - λ) for λ ~ Beta(α, α): from 0 to 1/2.

    In closed form 1/2 - 1 / (4^α α B(α, α)), with the Beta function B; the second term is the mean of |λ - 1/2|.
    """
    log_beta = 2 * math.lgamma(_checked_alpha(alpha)) - math.lgamma(2 * alpha)
    return 0.5 - math.exp(-alpha * math.log(4) - math.log(alpha) - log_beta)


def uniform(low: float, high: float, size: int, *, generator: Generator) -> Tensor:
    """Draw numbers, uniform in [low, high), (size,) float64."""
    return torch.rand(size, dtype=torch.float64, device="cpu", generator=generator).mul_(high - low).add_(low)


def _log_gamma(alpha: float | Tensor, rows: int, columns: int, generator: Generator) -> Tensor:
    """Draw logarithms of Gamma(α) variates, log G(α + 1) + log(U) / α: for small α the variates themselves underflow.

    Two give a Beta variate, G1 / (G1 + G2), several one of Dirichlet's. α may be one of each row.
    """
    if isinstance(alpha, Tensor):
        shape = (alpha.double()[:, None] + 1.0).repeat(1, columns)
    else:
        shape = torch.full((rows, columns), _checked_alpha(alpha) + 1.0, dtype=torch.float64, device="cpu")
    log_gamma = torch._standard_gamma(shape, generator=generator).log_()
    uniform = torch.rand(rows, columns, dtype=torch.float64, device="cpu", generator=generator).clamp_min_(1e-300)
    # of a smaller alpha the quotients would all be infinite
    least = alpha.double()[:, None].clamp_min(1e-300) if isinstance(alpha, Tensor) else max(alpha, 1e-300)
    return log_gamma.add_(uniform.log_().div_(least))


def permutation(size: int, *, generator: Generator) -> Tensor:
    """Draw a uniformly random partner ``x[perm[b]]`` for each sample b, (B,) int64; fixed points may occur."""
    return torch.randperm(size, device="cpu", generator=generator)


def matching(size: int, *, generator: Generator) -> Tensor:
    """Draw random pairs, (B,) int64: a permutation that is its own inverse, so that both members meet each other.

    With an odd B one sample stays alone (its own partner).
    """
    order = torch.randperm(size, device="cpu", generator=generator)
    half = size // 2
    left, right = order[:half], order[half : 2 * half]
    perm = torch.arange(size, device="cpu")
    perm[left], perm[right] = right, left
    return perm


def choice(probabilities: list[float], *, generator: Generator) -> int:
    """Draw one index with the given probabilities (non-negative; they need not sum to 1)."""
    weights = torch.tensor(probabilities, dtype=torch.float64, device="cpu")
    return int(torch.multinomial(weights, 1, generator=generator))


def coin(probability: float, *, generator: Generator) -> bool:
    """Draw True with the given probability; 0 and 1 are certain and consume nothing."""
    if probability in (0, 1):
        return bool(probability)
    return bool(torch.rand((), dtype=torch.float64, device="cpu", generator=generator) < probability)


def box_centres(size: int, height: int, width: int, *, generator: Generator) -> Tensor:
    """Draw box centres, (size, 2) int64 row and column, uniform over the pixels of an image."""
    rows = torch.randint(height, (size,), device="cpu", generator=generator)
    columns = torch.randint(width, (size,), device="cpu", generator=generator)
    return torch.stack([rows, columns], dim=1)


def one_box_centre(height: int, width: int, *, generator: Generator) -> tuple[int, int]:
    """Draw one box centre as :func:`box_centres` does, in Python's numbers."""
    row, column = (int(torch.randint(side, (), device="cpu", generator=generator)) for side in (height, width))
    return row, column


def dirichlet(alpha: float | Tensor, groups: int, size: int, *, generator: Generator) -> Tensor:
    """Draw from symmetric Dirichlet distributions, (groups, size) float64: rows sum to 1.

    The concentration α > 0 is one number, or (groups,) one of each row.
    """
    return _log_gamma(alpha, groups, size, generator).softmax(1)


def subsets(groups: int, size: int, length: int, *, generator: Generator) -> Tensor:
    """Draw for each group some different ones of (0, ..., size - 1), (groups, length) int64."""
    return torch.rand(groups, size, dtype=torch.float32, device="cpu", generator=generator).argsort(1)[:, :length]


def random_start(groups: int, inputs: int, height: int, width: int, *, generator: Generator) -> Tensor:
    """Draw where Co-Mixup's search starts: an input in [0, inputs) for each block of each output of each group."""
    return torch.randint(inputs, (groups, inputs, height, width), device="cpu", generator=generator)


def cutmix_box(lam: Tensor | float, centres: Tensor, height: int, width: int) -> Tensor:
    """Place CutMix boxes that cover about 1 - λ of the image.

    Sides are floor(S * sqrt(1 - λ)); half a side, floored, lies on each side of the centre; the box is then
    clipped to the image. An odd side therefore loses a pixel and boxes near the border shrink: the label
    weight must be recomputed from the box (:func:`alignmixup.functional.box_lam`).

    Convention:
        - ``lam`` is the share of the FIRST example: 1 gives an empty box, 0 the largest one.
        - boxes are ``y0, x0, y1, x1``, half-open.

    Args:
        lam: (B,) in [0, 1], or one number; pass float64, in float32 a side can be one pixel off.
        centres: (B, 2) int64 row and column.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        (B, 4) int64 on the device of ``centres``.

    Source:
        Yun et al., CutMix, ICCV 2019, section 3.1, and its published code.

    Example:
        >>> import torch
        >>> cutmix_box(0.75, torch.tensor([[16, 16], [0, 0]]), 32, 32)  # the second is cut by the border
        tensor([[ 8,  8, 24, 24],
                [ 0,  0,  8,  8]])
    """
    height, width = count("height", height), count("width", width)
    centres = integers("centres", centres, "B 2", below=max(height, width))
    if readable(centres) and (centres >= torch.tensor([height, width], device="cpu")).any():
        raise ValueError(f"centres must lie in the image of {height} x {width}, got {centres.amax(0).tolist()}")
    ratio = (1.0 - weights("lam", lam, centres).to(widest(centres.device))).clamp(0.0, 1.0).sqrt()
    extent = to_device(torch.tensor([height, width], device="cpu"), centres.device)
    half = (ratio[:, None] * extent).floor().long() // 2
    low = (centres - half).clamp_min(0)
    high = torch.minimum(centres + half, extent)
    return torch.cat([low, torch.maximum(high, low)], dim=1)


def one_cutmix_box(lam: float, centre: tuple[int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """Place one box as :func:`cutmix_box` does, in Python's numbers: a fifth of the time of one box in tensors."""
    (row, column), ratio = centre, math.sqrt(min(max(1.0 - lam, 0.0), 1.0))
    y, x = math.floor(ratio * height) // 2, math.floor(ratio * width) // 2
    return max(row - y, 0), max(column - x, 0), min(row + y, height), min(column + x, width)


def to_device(draw: Tensor, device: torch.device) -> Tensor:
    """Move a CPU draw to ``device`` without waiting for it: through pinned memory on CUDA."""
    if device.type == "cuda":
        return draw.pin_memory().to(device, non_blocking=True)
    return draw if device.type == "cpu" else draw.to(device)
