"""Spectra of classes: how many directions the features of one class take."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["ClassSpectra", "class_spectra"]


@dataclass(frozen=True, eq=False)
class ClassSpectra:
    """Singular values of the features of each class, on the CPU.

    Args:
        values: (n,) float64 of each of the K classes, decreasing, n the smaller of its images and the features' size.
        norms: (K,) float64, root mean squared norm of the features of each class, as they are.
        counts: images of each class.
    """

    values: list[Tensor]
    norms: Tensor
    counts: list[int]

    def summary(self) -> dict[str, Any]:
        """Means over the classes, ready for JSON.

        - ``largest`` and ``rest``: the largest singular value, and the sum of the others.
        - ``largest_relative`` and ``rest_relative``: the same, each class's in units of its ``norms``.
        - ``effective_rank``: exp of the entropy of the singular values over their sum; of n equal ones it is n.
        - ``values``: the relative singular values, as many as every class has.
        """
        relative = [values / norm for values, norm in zip(self.values, self.norms.clamp_min(1e-300), strict=True)]
        shortest = min(map(len, self.values))
        return {
            "largest": _mean([values[0] for values in self.values]),
            "rest": _mean([values[1:].sum() for values in self.values]),
            "largest_relative": _mean([values[0] for values in relative]),
            "rest_relative": _mean([values[1:].sum() for values in relative]),
            "effective_rank": _mean([_effective_rank(values) for values in self.values]),
            "values": torch.stack([values[:shortest] for values in relative]).mean(0).tolist(),
        }


def class_spectra(features: Tensor, labels: Tensor, *, centred: bool) -> ClassSpectra:
    """Singular values of each class's features over the root of its number of images.

    Convention:
        - ``features`` (N, D) are floating and finite, ``labels`` (N,) integers; classes with a single image are left
          out.
        - ``centred`` takes the mean of the class away first. Then the squares of the singular values are the variances
          along the principal axes (divisor n); as they are, the squares add up to the mean squared norm.
        - The division by the root of n makes classes and data sets of different size comparable. The Manifold mixup
          paper reports the largest and the sum of the rest without it.

    Raises:
        ValueError: no class with two images, or features that are not finite.

    Source:
        Verma et al., Manifold Mixup, ICML 2019 (flattening of class representations); the effective rank of Roy and
        Vetterli, EUSIPCO 2007.

    Example:
        >>> features = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> found = class_spectra(features, torch.tensor([0, 0, 1, 1]), centred=True)
        >>> [values.tolist() for values in found.values]
        [[0.0, 0.0], [1.0, 0.0]]
    """
    features, labels = features.detach().to("cpu", torch.float64), labels.cpu()
    if not bool(features.isfinite().all()):
        raise ValueError("features that are not finite have no spectrum: the network has diverged")
    values, norms, counts = [], [], []
    for label in torch.unique(labels):
        own = features[labels == label]
        if len(own) < 2:
            continue
        norms.append(own.square().sum(1).mean().sqrt())
        own = own - own.mean(0) if centred else own
        values.append(torch.linalg.svdvals(own) / len(own) ** 0.5)
        counts.append(len(own))
    if not values:
        raise ValueError(f"no class has two of these {len(labels)} images: take more images (--limit)")
    return ClassSpectra(values, torch.stack(norms), counts)


def _effective_rank(values: Tensor) -> Tensor:
    share = values / values.sum().clamp_min(1e-300)
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
