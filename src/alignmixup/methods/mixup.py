"""Input mixup."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from alignmixup.functional.interpolation import mix_pairs, mixup
from alignmixup.methods.base import Annotation, Draw, MixedBatch, PairMixer, Parents
from alignmixup.options import option


@dataclass(eq=False, kw_only=True)
class Mixup(PairMixer):
    """Interpolate whole images and their labels: λ x + (1 - λ) x[π].

    Source:
        Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, Eq. (1).
    """

    alpha: float = option(1.0, paper="1.0 on CIFAR-10 and CIFAR-100, 0.2 on ImageNet (0.1 to 0.4 tried)")

    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Interpolate images and labels."""
        draw = self.expect(Draw, draw)
        interpolate = mix_pairs if self.stream.is_vouched(draw, x) else mixup
        mixed = interpolate(x, draw.perm, draw.lam)
        return MixedBatch(mixed, self.mixed_target(target, draw), target, draw, parents=Parents(draw.perm))
