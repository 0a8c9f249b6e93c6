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
        shared = self.stream.vouched(draw, x)
        mixed_by = draw.lam if shared is None else shared.get("lam", draw.lam)
        mixed = mixup(x, draw.perm, draw.lam) if shared is None else mix_pairs(x, draw.perm, mixed_by)
        mixed_target = mix_pairs(target, draw.perm, mixed_by)
        return MixedBatch(mixed, mixed_target, target, draw, parents=Parents(draw.perm))
