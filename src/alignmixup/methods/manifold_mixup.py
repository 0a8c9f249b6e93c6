"""Manifold mixup."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from alignmixup.functional.alignment import Keep
from alignmixup.functional.interpolation import mixup
from alignmixup.methods.base import Annotation, HiddenDraw, HiddenMixer
from alignmixup.options import option
from alignmixup.taps import Hidden, Probe


@dataclass(frozen=True, eq=False, kw_only=True)
class ManifoldDraw(HiddenDraw):
    """Draw of Manifold mixup."""


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

    reads_positions: ClassVar[bool] = False
    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the ends of two early stages."""
        return found.early()

    def draw(self, x: Tensor, target: Tensor) -> ManifoldDraw:
        """Draw λ, partners and the layer."""
        pairs = super().draw(x, target)
        return ManifoldDraw(**vars(pairs), layer=self.draw_layer())

    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        """Interpolate, wherever the positions are."""
        return partial(mixup, perm=perm, lam=lam)
