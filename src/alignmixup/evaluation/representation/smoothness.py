"""How smoothly a classifier decides: between two images, and around one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["change", "summarise_segments", "summarise_steps"]

Classifier = Callable[[Tensor], Tensor]
"""Class probabilities (B, K) float64 on the CPU of images (B, C, H, W)."""


def change(first: Tensor, second: Tensor) -> Tensor:
    """Total variation distance of probabilities (..., K): half of the sum of absolute differences, in [0, 1]."""
    return (first - second).abs().sum(-1) / 2


def along_segments(classify: Classifier, first: Tensor, second: Tensor, points: int) -> Tensor:
    """Probabilities (B, points, K) at even steps from images ``first`` to ``second``, both (B, C, H, W)."""
    share = torch.linspace(0, 1, points, device=first.device).view(1, points, 1, 1, 1)
    images = torch.lerp(first[:, None], second[:, None], share)
    probs = classify(images.flatten(0, 1))
    return probs.reshape(len(first), points, probs.shape[1])


def beside(images: Tensor, step: float, scale: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W), each moved in a random direction by ``step`` times ``scale`` (1, C, 1, 1) a value, root mean
    square; not clipped. The directions of a generator do not depend on the size of the batches.
    """
    direction = torch.stack([torch.randn(images.shape[1:], generator=generator) for _ in images])
    rms = direction.square().flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)
    return images + (step * scale * direction / rms).to(images.device)


def summarise_segments(probs: Tensor) -> dict[str, Any]:
    """What happens on segments between images, of probabilities (N, T, K) at T even places.

    Returns:
        Means over the segments, ready for JSON: ``label_changes``, how often the predicted class changes on the way;
        ``other_class_percent`` of the T places, at which neither of the classes at the ends is predicted; ``detour``,
        the length of the way in probabilities (sum of `change`) less the distance of its ends, 0 where they go
        straight; ``steepest``, the largest `change` of one step; ``confidence_percent`` at each place, and its
        ``least_confidence_percent``.
    """
    labels = probs.argmax(2)
    ends = (labels == labels[:, :1]) | (labels == labels[:, -1:])
    steps = change(probs[:, 1:], probs[:, :-1])
    confidence = probs.amax(2)
    return {
        "segments": len(probs),
        "places": probs.shape[1],
        "label_changes": float((labels[:, 1:] != labels[:, :-1]).double().sum(1).mean()),
        "other_class_percent": 100 * float((~ends).double().mean()),
        "detour": float((steps.sum(1) - change(probs[:, 0], probs[:, -1])).clamp_min(0).mean()),
        "steepest": float(steps.amax(1).mean()),
        "confidence_percent": (100 * confidence.mean(0)).tolist(),
        "least_confidence_percent": 100 * float(confidence.amin(1).mean()),
    }


def summarise_steps(probs: Tensor, moved: Tensor) -> dict[str, float]:
    """Mean `change` and share of other labels between probabilities (N, K) of images and of the same ones moved."""
    return {
        "change_percent": 100 * float(change(probs, moved).mean()),
        "label_change_percent": 100 * float((probs.argmax(1) != moved.argmax(1)).double().mean()),
    }
