"""Manifold mixup."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from alignmixup.functional.interpolation import mixup
from alignmixup.methods.base import Draw, HiddenMixer, MixedBatch
from alignmixup.options import option
from alignmixup.taps import Probe


@dataclass(frozen=True, eq=False, kw_only=True)
class ManifoldDraw(Draw):
    """Draw of Manifold mixup.

    Attributes:
        layer: dotted name of the layer to mix at; None for the input.
    """

    layer: str | None


@dataclass(eq=False, kw_only=True)
class ManifoldMixup(HiddenMixer):
    """Interpolate the input or one hidden feature map, chosen at random per batch.

    Without ``layer`` the ends of the first two stages are used, each as often as the input, as published.

    Source:
        Verma et al., Manifold Mixup, ICML 2019, Eq. (2) and section 5.
    """

    alpha: float = option(2.0, paper="2.0 on CIFAR and SVHN, 0.2 on Tiny-ImageNet")
    layer: str | nn.Module | Sequence[str | nn.Module] | None = option(None, paper="the input and the first two stages")
    layer_probabilities: Sequence[float] | None = option(None, paper="equal shares")
    input_probability: float = option(1 / 3, paper="1/3")

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the ends of two early stages."""
        return found.early()

    def draw(self, x: Tensor, target: Tensor) -> ManifoldDraw:
        """Draw λ, partners and the layer."""
        pairs = super().draw(x, target)
        return ManifoldDraw(**vars(pairs), layer=self.draw_layer())

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Mix the images now, or record the function that will mix the layer."""
        draw = self.expect(ManifoldDraw, draw)
        mixed_target = self.mixed_target(target, draw)
        if draw.layer is None:
            return MixedBatch(mixup(x, draw.perm, draw.lam), mixed_target, target, draw, tap=self._tap)
        hidden = {draw.layer: partial(mixup, perm=draw.perm, lam=draw.lam)}
        return MixedBatch(x, mixed_target, target, draw, hidden, tap=self._tap)
