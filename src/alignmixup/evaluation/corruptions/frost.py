"""Synthetic textures of frost, since the benchmark's photographs cannot be given away."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["frost_textures"]

# Of the five photographs that the benchmark draws from (two of which are one picture): mean colour, standard deviation
# of the brightness within a piece of the image's size (bytes), and exponent of the power spectrum.
_PHOTOGRAPHS = (
    ((78, 149, 166), 15, -2.2),
    ((201, 205, 214), 19, -1.2),
    ((201, 205, 214), 19, -1.2),
    ((138, 153, 165), 25, -0.8),
    ((112, 123, 135), 34, -1.5),
)
_SEED = 20190503
_PIECES = 5  # side of a texture, in sides of an image


@cache
def frost_textures(side: int) -> Tensor:
    """Five textures to cut pieces from: crystals are the ridges of one fractal field, shading is another.

    Args:
        side: of the images in pixels.

    Returns:
        (5, 3, 5 * side, 5 * side) float32 in [0, 1]; the same ones each time.
    """
    generator = torch.Generator().manual_seed(_SEED)
    textures = [
        _texture(_PIECES * side, colour, spread, slope, generator=generator) for colour, spread, slope in _PHOTOGRAPHS
    ]
    return torch.stack(textures)


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
