"""Noise of pixels: Gaussian, shot, impulse and speckle.

Here and in `blur`, `digital` and `weather` the function of a kind takes images (B, C, H, W) float32 in [0, 1] on the
CPU, the published parameters of one severity (`strengths`) and the images' streams of random numbers, and gives
images of the same shape, in [0, 1] after clipping.
"""

import torch
from torch import Tensor

from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import Parameters


def gaussian_noise(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Add N(0, scale²) to each value."""
    (scale,) = parameters
    return x + scale * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Count photons: Poisson numbers of rate ``photons * x``, divided by ``photons``."""
    (photons,) = parameters
    return draws.poisson(x * photons) / photons


def impulse_noise(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Set a share of the values, each channel apart, to 0 or 1 with equal probability."""
    (share,) = parameters
    chosen, white = draws.uniform(2, *x.shape[1:]).unbind(1)
    return torch.where(chosen <= share, (white <= 0.5).to(x.dtype), x)


def speckle_noise(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Add N(0, (scale * x)²) to each value."""
    (scale,) = parameters
    return x + x * scale * draws.normal(*x.shape[1:])
