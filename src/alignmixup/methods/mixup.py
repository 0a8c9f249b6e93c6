"""Input mixup."""

from dataclasses import dataclass

from torch import Tensor

from alignmixup.functional.interpolation import mixup
from alignmixup.methods.base import PairMixer
from alignmixup.methods.batch import Draw, MixedBatch


@dataclass(eq=False, kw_only=True)
class Mixup(PairMixer):
    """Interpolate whole images and their labels: λ x + (1 - λ) x[π].

    Options are those of :class:`Mixer`. Paper: ``alpha`` 1.0 on CIFAR-10 and CIFAR-100, 0.2 on ImageNet.

    Source:
        Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, Eq. (1).
    """

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Interpolate images and labels."""
        return MixedBatch(mixup(x, draw.perm, draw.lam), self.mixed_target(target, draw), target, draw)
