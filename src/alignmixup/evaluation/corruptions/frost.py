"""Synthetic textures of frost, since the benchmark's photographs cannot be given away."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from alignmixup.evaluation.corruptions.strengths import Table, table_for

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
_SEED = 20190503
_PIECES = 5  # side of a texture, in sides of an image


@cache
def frost_textures(side: int) -> Tensor:
    """Five textures (3, 5 * side, 5 * side) float32 in [0, 1] to cut pieces of ``side`` from; the same ones each time.

    Crystals are the ridges of one fractal field, shading is another. Colour, contrast and roughness (difference of
    neighbours) are those of the photographs at the scale that the benchmark has for the nearest of 32, 64 and 224
    pixels: over the five, within 2 levels.
    """
    generator = torch.Generator().manual_seed(_SEED)
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
