"""How well an image is reconstructed: structural similarity and peak signal-to-noise ratio."""

import torch
import torch.nn.functional as F
from torch import Tensor


def structural_similarity(first: Tensor, second: Tensor, *, window: int = 7) -> Tensor:
    """Mean structural similarity (SSIM) of two batches of images over all windows, a scalar in [-1, 1]; 1 where equal.

    Images are (B, C, H, W) float32 pixels in [0, 1]; ``window`` is the side in pixels of uniform windows, of which a
    smaller image is one.

    Source:
        Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment, IEEE TIP 2004, Eq. (13), K1 = 0.01 and K2 = 0.03.
        Deviation: uniform windows instead of Gaussian ones.
    """
    side = (min(window, first.shape[2]), min(window, first.shape[3]))
    products = torch.stack([first, second, first * first, second * second, first * second]).flatten(0, 1)
    mean1, mean2, square1, square2, product = F.avg_pool2d(products, side, stride=1).chunk(5)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean1 * mean2 + c1) / (mean1 * mean1 + mean2 * mean2 + c1)
    variances = (square1 - mean1 * mean1) + (square2 - mean2 * mean2)
    structure = (2 * (product - mean1 * mean2) + c2) / (variances + c2)
    return (luminance * structure).mean()


def peak_signal_to_noise(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair of images (B, ...) in [0, 1], (B,) float32.

    It is 10 log10(1 / mean squared difference), in decibels; infinite for equal images.
    """
    squared = (first.float() - second.float()).square().flatten(1).mean(1)
    return -10 * squared.log10()
