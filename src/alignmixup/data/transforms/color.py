"""Colour jitter and lighting noise of the ImageNet recipes, for a whole batch at once."""

import torch
from torch import Tensor

__all__ = ["color_jitter", "lighting"]

_GREY = (0.299, 0.587, 0.114)
_EIGENVALUES = (0.2175, 0.0188, 0.0045)  # of the covariance of ImageNet's RGB values
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def color_jitter(x: Tensor, amount: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast and saturation (0, 1, 2) of each image, in an order of its own.

    Each step moves x (B, 3, H, W), in [0, 1] before normalisation, by amount * (g - x), where g is 0 (brightness), the
    mean grey value of the image (contrast) or the grey image (saturation). Nothing is clipped. ``amount`` (B, 3) is of
    the three; each row of ``order`` (B, 3) is a permutation of them.

    Source:
        The ImageNet codes of CutMix, Puzzle Mix, SaliencyMix and AlignMixup (amount uniform in [-0.4, 0.4]).
    """
    for step in range(3):
        kind = order[:, step].view(-1, 1, 1, 1)
        grey = _grey(x)
        contrast = grey.mean((2, 3), keepdim=True)
        target = torch.where(kind == 2, grey, torch.where(kind == 1, contrast, 0.0))
        x = torch.lerp(x, target.expand_as(x), amount.gather(1, order[:, step : step + 1]).view(-1, 1, 1, 1))
    return x


def lighting(x: Tensor, noise: Tensor) -> Tensor:
    """Add the same colour to all pixels of an image x (B, 3, H, W), in [0, 1] before normalisation: noise (B, 3) along
    the principal components of ImageNet's colours.

    Source:
        Krizhevsky et al., ImageNet classification with deep convolutional neural networks, NeurIPS 2012,
        section 4.1.
    """
    values = torch.tensor(_EIGENVALUES, device=x.device)
    vectors = torch.tensor(_EIGENVECTORS, device=x.device)
    return x + ((noise * values) @ vectors.T).view(-1, 3, 1, 1)


def _grey(x: Tensor) -> Tensor:
    red, green, blue = _GREY
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]
