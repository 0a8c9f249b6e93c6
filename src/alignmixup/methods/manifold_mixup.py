"""Manifold mixup."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from alignmixup.functional.alignment import Keep
from alignmixup.functional.interpolation import mixup
from alignmixup.methods.hidden_mixer import HiddenDraw, HiddenMixer
from alignmixup.taps import Hidden, Probe


@dataclass(frozen=True, eq=False, kw_only=True)
class ManifoldDraw(HiddenDraw):
    """Draw of Manifold mixup."""


@dataclass(eq=False, kw_only=True)
class ManifoldMixup(HiddenMixer):
    """Interpolate the input or one hidden feature map, chosen at random per batch.

    Without ``layer`` the ends of the first two stages are used, each as often as the input, as published.
    Options are those of :class:`HiddenMixer` and :class:`Mixer`. Paper: ``alpha`` 2.0 on CIFAR, 0.2 on
    Tiny-ImageNet.

    Source:
        Verma et al., Manifold Mixup, ICML 2019, Eq. (2) and section 5.
    """

    alpha: float = 2.0
    input_probability: float = 1 / 3

    reads_positions: ClassVar[bool] = False

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the ends of two early stages."""
        return found.early()

    def draw(self, x: Tensor, target: Tensor) -> ManifoldDraw:
        """Draw λ, partners and the layer."""
        pairing = super().draw(x, target)
        return ManifoldDraw(lam=pairing.lam, perm=pairing.perm, layer=self.draw_layer())

    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        """Interpolate, wherever the positions are."""
        return partial(mixup, perm=perm, lam=lam)
