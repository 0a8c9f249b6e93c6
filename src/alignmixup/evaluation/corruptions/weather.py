"""Weather: snow, frost, fog, brightness and spatter. See `noise` for what a corruption takes."""

import math
from functools import cache

import torch
from torch import Tensor

from alignmixup.evaluation.corruptions.blur import clipped_zoom, motion, smooth
from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import Parameters, Table, table_for
from alignmixup.outside import require

_LUMA = (0.299, 0.587, 0.114)
_WATER, _MUD = (175 / 255, 238 / 255, 238 / 255), (63 / 255, 42 / 255, 20 / 255)
# Of the five photographs that the benchmark draws from (two are one picture), scaled to 0.2, 0.3 and 1 of their size
# as there: mean colour, standard deviation of the brightness (bytes) and exponent of the power spectrum.
_PHOTOGRAPHS: dict[Table, tuple[tuple[tuple[int, int, int], float, float], ...]] = {
    "cifar": (
        ((78, 149, 166), 15, -2.2),
        ((201, 205, 214), 19, -1.2),
        ((201, 205, 214), 19, -1.2),
        ((138, 153, 165), 25, -0.8),
        ((112, 123, 135), 34, -1.5),
    ),
    "tiny-imagenet": (
        ((77, 147, 163), 16.7, -2.12),
        ((198, 202, 212), 19.4, -1.96),
        ((198, 202, 212), 19.4, -1.96),
        ((144, 159, 172), 24, -1.64),
        ((101, 113, 125), 34.6, -1.85),
    ),
    "imagenet": (
        ((77, 147, 164), 17.1, -2.11),
        ((198, 202, 211), 22, -2.21),
        ((198, 202, 211), 22, -2.21),
        ((145, 159, 172), 27.7, -1.95),
        ((99, 110, 122), 37.6, -2.07),
    ),
}
_FROST_SEED = 20190503
_PIECES = 5  # side of a texture, in sides of an image


def brightness(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Raise the value V of HSV = (hue, saturation, V), which scales all channels by V' / V; black becomes grey."""
    (added,) = parameters
    value = x.amax(dim=1, keepdim=True)
    raised = (value + added).clamp(max=1)
    return torch.where(value > 0, x * raised / value.clamp(min=1e-6), raised)


def fog(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Add a plasma fractal, then scale so that the image's maximum is kept where the fog is thickest."""
    thickness, decay = parameters
    side = x.shape[-1]
    layer = plasma(draws, size=1 << (side - 1).bit_length(), decay=decay)[:, None, :side, :side]
    highest = x.amax(dim=(1, 2, 3), keepdim=True)
    return (x + thickness * layer) * highest / (highest + thickness)


def frost(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Lay a piece of a frost texture over the image.

    Deviation: the benchmark cuts pieces out of photographs, which cannot be given away. The textures here are
    synthetic, with those photographs' mean colours, contrasts and roughness at the image's size (`frost_textures`).
    """
    keep, strength = parameters
    side = x.shape[-1]
    textures = frost_textures(side)
    where = draws.uniform(3)
    which = (where[:, 0] * len(textures)).long()
    corner = (where[:, 1:] * (textures.shape[-1] - side)).long()
    line = torch.arange(side)
    rows, columns = corner[:, :1] + line, corner[:, 1:] + line
    piece = textures[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return keep * x + strength * (piece if x.shape[1] == 3 else luma(piece))


@cache
def frost_textures(side: int) -> Tensor:
    """Five textures (3, 5 * side, 5 * side) float32 in [0, 1] to cut pieces of ``side`` from; the same ones each time.

    Crystals are the ridges of one fractal field, shading is another. Colour, contrast and roughness (difference of
    neighbours) are those of the photographs at the scale that the benchmark has for the nearest of 32, 64 and 224
    pixels: over the five, within 2 levels.
    """
    generator = torch.Generator().manual_seed(_FROST_SEED)
    photographs = _PHOTOGRAPHS[table_for(side)]
    return torch.stack([_texture(_PIECES * side, *photograph, generator=generator) for photograph in photographs])


def _texture(size: int, colour: tuple[int, ...], spread: float, slope: float, *, generator: torch.Generator) -> Tensor:
    shading, ridged = (_fractal(size, slope, generator=generator) for _ in range(2))
    crystals = -ridged.abs()
    grey = 0.8 * shading + 0.6 * (crystals - crystals.mean()) / crystals.std()
    grey = (grey - grey.mean()) / grey.std()
    return ((torch.tensor(colour).view(3, 1, 1) + spread * grey) / 255).clamp(0, 1).float()


def _fractal(size: int, slope: float, *, generator: torch.Generator) -> Tensor:
    """(size, size) float64 Gaussian field whose power falls as frequency to the power ``slope``."""
    along = torch.fft.fftfreq(size, dtype=torch.float64)
    frequency = torch.hypot(along[:, None], torch.fft.rfftfreq(size, dtype=torch.float64))
    frequency[0, 0] = torch.inf  # no mean
    spectrum = torch.fft.rfft2(torch.randn(size, size, generator=generator, dtype=torch.float64))
    field: Tensor = torch.fft.irfft2(spectrum * frequency ** (slope / 2), s=(size, size))
    return field / field.std()


def snow(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Whiten the image and let flakes fall, smeared along a direction of -135 to -45 degrees."""
    mean, spread, zoom, threshold, radius, sigma, keep = parameters
    side = x.shape[-1]
    flakes = clipped_zoom(mean + spread * draws.normal(1, side, side), zoom)
    flakes = (torch.where(flakes < threshold, 0.0, flakes.clamp(max=1)) * 255).floor() / 255
    flakes = motion(flakes, int(radius), sigma, degrees=-135 + 90 * draws.uniform().double())
    white = torch.maximum(x, luma(x) * 1.5 + 0.5)
    return keep * x + (1 - keep) * white + flakes + flakes.flip(2, 3)


def spatter(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Drops of water (``parameters[5] == 0``) or of mud on the lens."""
    mean, spread, sigma, threshold, strength, mud = parameters
    side = x.shape[-1]
    liquid = smooth(mean + spread * draws.normal(1, side, side), sigma)
    colour = torch.tensor(_MUD if mud else _WATER).view(1, 3, 1, 1)
    if x.shape[1] == 1:
        colour = luma(colour)
    if mud:
        cover = smooth((liquid > threshold).float(), strength)
        cover = torch.where(cover < 0.8, 0.0, cover)
        return x * (1 - cover) + colour * cover
    liquid = (torch.where(liquid < threshold, 0.0, liquid.clamp(max=1)) * 255).floor()
    return x + strength * _wet(liquid) * colour


def luma(x: Tensor) -> Tensor:
    """(B, 1, H, W) brightness of RGB images by the weights of ITU-R BT.601; grey images are their own."""
    if x.shape[1] == 1:
        return x
    return (x * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def plasma(draws: Draws, *, size: int, decay: float) -> Tensor:
    """Fractal height maps by the diamond-square algorithm, (B, size, size) in [0, 1], without borders.

    ``size`` is a power of two; the amplitude falls by the square of ``decay`` from one scale to the next.
    """
    noise = 2 * draws.uniform(size * size).double() - 1
    height = torch.zeros(len(draws), size, size, dtype=torch.float64)
    used, step, amplitude = 1, size, 1.0

    def next_noise(count: int) -> Tensor:
        nonlocal used
        taken = noise[:, used : used + count * count].view(-1, count, count)
        used += count * count
        return amplitude * taken

    while step > 1:
        half, count = step // 2, size // step
        corners = height[:, ::step, ::step]
        right, below = corners.roll(-1, 2), corners.roll(-1, 1)
        centres = (corners + right + below + below.roll(-1, 2)) / 4 + next_noise(count)
        height[:, half::step, half::step] = centres
        height[:, ::step, half::step] = (corners + right + centres + centres.roll(1, 1)) / 4 + next_noise(count)
        height[:, half::step, ::step] = (corners + below + centres + centres.roll(1, 2)) / 4 + next_noise(count)
        step, amplitude = half, amplitude / decay**2
    height -= height.amin(dim=(1, 2), keepdim=True)
    return (height / height.amax(dim=(1, 2), keepdim=True).clamp(min=math.ulp(1.0))).float()


def _wet(liquid: Tensor) -> Tensor:
    """How much light the drops add, (B, 1, H, W) in [0, 1]: brightest some way inside their edges."""
    cv2, numpy = require("cv2", extra="evaluate"), require("numpy")
    emboss = numpy.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=numpy.float32)
    added = torch.empty_like(liquid)
    for source, part in zip(liquid[:, 0].numpy(), added[:, 0].numpy(), strict=True):
        outside = 255 - cv2.Canny(source.astype(numpy.uint8), 50, 150)
        distance = numpy.minimum(cv2.distanceTransform(outside, cv2.DIST_L2, 5), 20)
        distance = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(numpy.uint8))
        distance = cv2.blur(cv2.filter2D(distance, cv2.CV_8U, emboss), (3, 3))
        part[:] = source * distance
    return added / added.amax(dim=(2, 3), keepdim=True).clamp(min=1)
