"""Baseline: training without mixing."""

from dataclasses import dataclass

from torch import Tensor

from alignmixup.methods.base import PairMixer
from alignmixup.methods.batch import Draw, MixedBatch


@dataclass(eq=False, kw_only=True)
class Baseline(PairMixer):
    """No mixing: the batch comes back with its own (optionally smoothed) labels. The yardstick of every comparison."""

    probability: float = 0.0

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Return the batch as it is."""
        return MixedBatch(x, target, target)
