"""The normalisation of images, done and undone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Normalization"]


@dataclass(frozen=True)
class Normalization:
    """x = (pixels - mean) / std for each channel.

    Args:
        mean: (1, C, 1, 1), in [0, 1] units.
        std: (1, C, 1, 1), > 0.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(
        cls,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Normalization":
        """From C numbers each; made once for a loop, since it copies them to the device."""
        return cls(*(torch.tensor(values, device=device, dtype=dtype).view(1, -1, 1, 1) for values in (mean, std)))

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) in [0, 1]."""
        return (pixels - self.mean) / self.std

    def undo(self, x: Tensor) -> Tensor:
        """Give the pixels of normalised images (B, C, H, W) back: in [0, 1], in the precision of the mean."""
        return (x.to(self.mean.dtype) * self.std + self.mean).clamp(0, 1)
