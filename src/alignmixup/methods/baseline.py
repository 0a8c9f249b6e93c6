"""Baseline: training without mixing."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from alignmixup.methods.base import Annotation, MixedBatch, Mixer


@dataclass(eq=False, kw_only=True)
class Baseline(Mixer):
    """No mixing: the batch comes back with its own (optionally smoothed) labels. The yardstick of every comparison."""

    probability: ClassVar[float] = 0.0  # type: ignore[misc]  # no option here: there is nothing to mix, ever
    active_epochs: ClassVar[None] = None  # type: ignore[misc]
    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    def draw(self, x: Tensor, target: Tensor) -> None:
        """Draw nothing."""

    def mix(self, x: Tensor, target: Tensor, draw: None) -> MixedBatch:
        """Return the batch as it is."""
        return MixedBatch(x, target, target)
