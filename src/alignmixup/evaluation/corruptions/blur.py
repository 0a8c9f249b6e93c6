"""Blur: defocus, frosted glass, motion, zoom and Gaussian. See `noise` for what a corruption takes."""

import math
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data.transforms.crops import cut_windows
from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import Parameters
from alignmixup.outside import require


def gaussian_blur(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Convolve with a Gaussian."""
    (sigma,) = parameters
    return smooth(x, sigma)


def defocus_blur(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Convolve with a disk whose edge is softened."""
    radius, softening = parameters
    cv2 = require("cv2", extra="evaluate")
    kernel = _disk(radius, softening)
    blurred = torch.empty_like(x, memory_format=torch.contiguous_format)
    planes = blurred.flatten(0, 1).numpy()
    for plane, source in zip(planes, x.contiguous().flatten(0, 1).numpy(), strict=True):
        cv2.filter2D(source, -1, kernel, dst=plane, borderType=cv2.BORDER_REFLECT_101)
    return blurred


def glass_blur(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Blur, let pixels take the place of their neighbours, blur again.

    Convention:
        - The published loop reads like an exchange of two pixels, but assigns through views: a pixel takes its
          neighbour's value and the neighbour keeps it. The released images were made so, and so is this.
        - Pixels are visited from the lower right, so a value may travel several steps in one pass.
    """
    sigma, reach, passes = parameters[0], int(parameters[1]), int(parameters[2])
    # bytes in between, as published; a little is added because float32 may lie below a whole number
    x = (smooth(x, sigma) * 255 + 1e-3).floor() / 255
    side = x.shape[-1]
    for _ in range(passes):
        source = _glass_sources(draws.integers(-reach, reach, side, side, 2), reach)
        x = x.flatten(2).gather(2, source.unsqueeze(1).expand(-1, x.shape[1], -1)).view_as(x)
    return smooth(x, sigma)


def motion_blur(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Smear along a direction that is uniform on -45 to 45 degrees."""
    radius, sigma = parameters
    return motion(x, int(radius), sigma, degrees=-45 + 90 * draws.uniform().double())


def zoom_blur(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Mean of the image and of enlarged ones, all cut to its size."""
    end, step = parameters
    factors = require("numpy").arange(1, end, step).tolist()
    total = x.clone()
    for factor in factors:
        total += clipped_zoom(x, factor)
    return total / (len(factors) + 1)


def motion(x: Tensor, radius: int, sigma: float, *, degrees: Tensor) -> Tensor:
    """Smear each image along its own direction, by half a Gaussian, as ImageMagick's motion blur does.

    Convention:
        - Angles (``degrees``, (B,) float64) run from the direction of growing x to that of growing y; a pixel takes
          values from there.
        - The kernel has 2 * radius + 1 taps on whole pixels, ``sigma`` > 0 pixels wide; beyond the border the border's
          values are used; the result is rounded to bytes.
    """
    taps = torch.arange(2 * radius + 1, dtype=torch.float64)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    weights = (kernel / kernel.sum()).tolist()
    angle = torch.deg2rad(degrees)
    right = torch.ceil(taps * angle.cos().unsqueeze(1) - 0.5).long()
    down = torch.ceil(taps * angle.sin().unsqueeze(1) - 0.5).long()
    margin = 2 * radius
    height, width = x.shape[2:]
    padded = F.pad(x, (margin,) * 4, mode="replicate")
    total = torch.zeros(x.shape)
    for tap, weight in enumerate(weights):
        offset = margin + torch.stack((down[:, tap], right[:, tap]), dim=1)
        total.add_(cut_windows(padded, offset, height=height, width=width), alpha=weight)
    return (total * 255).round() / 255


def clipped_zoom(x: Tensor, factor: float) -> Tensor:
    """The middle of each image, enlarged linearly ``factor`` (>= 1) times and cut to the old size.

    The corner pixels of the part that is enlarged stay where they are (aligned corners).
    """
    side = x.shape[-1]
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    scaled = round(cut * factor)
    if scaled == cut:
        return x
    part = x[..., top : top + cut, top : top + cut]
    zoomed = F.interpolate(part, size=(scaled, scaled), mode="bilinear", align_corners=True)
    trim = (scaled - side) // 2
    return zoomed[..., trim : trim + side, trim : trim + side]


def smooth(x: Tensor, sigma: float, *, border: Literal["edge", "symmetric"] = "edge", truncate: float = 4.0) -> Tensor:
    """Convolve square images (..., H, H) with a Gaussian of ``sigma`` pixels (0 changes nothing), cut off at
    ``truncate`` sigma.

    ``border``: repeat the outermost pixels, or mirror the image at its edge.
    """
    matrix = _smoothing_matrix(x.shape[-1], sigma, border, truncate)
    return x if matrix is None else matrix @ x @ matrix.T


@cache
def _smoothing_matrix(side: int, sigma: float, border: str, truncate: float) -> Tensor | None:
    """(side, side): row i holds what each pixel contributes to pixel i, border included."""
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return None
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    numpy = require("numpy")
    source = torch.from_numpy(numpy.pad(numpy.arange(side), radius, mode=border)).unfold(0, 2 * radius + 1, 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (kernel / kernel.sum()).expand(side, -1)).float()


@cache
def _disk(radius: float, softening: float) -> Any:
    """(n, n) kernel of a disk, n odd, as a NumPy array; sums to 1, to 1.01 from radius 9 on as published."""
    cv2, numpy = require("cv2", extra="evaluate"), require("numpy")
    reach = 8 if radius <= 8 else int(radius)
    distance = numpy.arange(-reach, reach + 1) ** 2
    disk = (distance[:, None] + distance <= radius**2).astype(numpy.float32)
    width = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disk / disk.sum(), (width, width), softening)
    margin = int((kernel.max(axis=0) > 0).argmax())  # rows and columns of zeros only cost time
    return numpy.ascontiguousarray(kernel[margin : len(kernel) - margin, margin : len(kernel) - margin])


def _glass_sources(offset: Tensor, reach: int) -> Tensor:
    """Where each pixel's value comes from after one pass, (B, H * H) int64.

    Pixel p takes the value of p + offset. Where that one was visited before, its own source counts, and so on: a chain
    that is followed for all pixels at once, each step doubling what was followed.
    """
    batch, side = offset.shape[:2]
    pixel = torch.arange(side * side).view(side, side)
    line = torch.arange(side)
    inside = (line > reach) & (line <= side - reach)
    visited = (inside[:, None] & inside).flatten()
    row = (line[:, None] + offset[..., 1]).clamp(0, side - 1)
    column = (line + offset[..., 0]).clamp(0, side - 1)
    taken = (row * side + column).flatten(1)
    target = pixel.flatten().expand(batch, -1)
    source = torch.where(visited, taken, target)
    follow = visited & visited[source] & (source > target)
    while bool(follow.any()):
        source, follow = (torch.where(follow, source.gather(1, source), source), follow & follow.gather(1, source))
    return source
