"""AlignMixup."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from alignmixup.functional.alignment import Keep, align_mix
from alignmixup.functional.cells import AlignmentSize, alignment_size
from alignmixup.functional.sampling import coin
from alignmixup.functional.transport.options import Alignment
from alignmixup.methods.base import HiddenDraw, HiddenMixer
from alignmixup.options import option
from alignmixup.taps import Hidden, Inputs, Probe
from alignmixup.taps.layer_check import LayerReport


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignDraw(HiddenDraw):
    """Draw of AlignMixup."""

    keep: Keep


@dataclass(eq=False, kw_only=True)
class AlignMixup(HiddenMixer, Alignment):
    """Interpolate feature maps after aligning one to the other by optimal transport, or mix the input.

    Without ``layer`` the last feature map is used and half of the batches are mixed at the input: the published
    recipe. In a network that pools this map globally and then classifies linearly, alignment cancels (see the
    method card); the mixer finds this out from the model and warns once.

    Source:
        Venkataramanan et al., AlignMixup: Improving Representations By Interpolating Aligned Features, CVPR 2022.
    """

    alpha: float = option(2.0, paper="2.0 everywhere")
    layer: str | nn.Module | Sequence[str | nn.Module] | None = option(None, paper="the last map")
    layer_probabilities: Sequence[float] | None = option(None, paper="one layer")
    input_probability: float = option(0.5, paper="0.5")
    keep: Literal["first", "partner", "random"] = option(
        "random",
        'whose geometry survives: "first", "partner", or "random", a fair coin per batch',
        paper="a fair coin per batch",
    )

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the last feature map."""
        return (found.last(),)

    def _look(self, inputs: Inputs) -> tuple[LayerReport, ...]:
        """Warn, once, where only the mean of a map is read: a plan with uniform marginals keeps the mean."""
        first_time = not self._proved
        reports = super()._look(inputs)
        pooled = [report.name for report in reports if report.use == "mean"]
        if first_time and pooled:
            warnings.warn(
                f"AlignMixup at layer {', '.join(map(repr, pooled))}: the model reads only the mean of this map "
                "(global average pooling), so the alignment cancels and this is Manifold mixup of the pooled features, "
                "as in the published network; name an earlier layer, or put a BatchNorm and ReLU before the pooling "
                "(final_norm=True in PreActResNet18, with layer='stage4'), to make alignment count",
                stacklevel=5,
            )
        return reports

    def draw(self, x: Tensor, target: Tensor) -> AlignDraw:
        """Draw λ, partners, the layer and the direction."""
        pairs, layer = super().draw(x, target), self.draw_layer()
        keep: Keep = "first" if self.keep == "first" else "partner"
        if self.keep == "random" and coin(0.5, generator=self.generator):
            keep = "first"
        return AlignDraw(**vars(pairs), layer=layer, keep=keep)

    def plan_size(self, axes: tuple[int, ...]) -> AlignmentSize:
        """Tell how many positions a plan has, and what it costs."""
        return alignment_size(axes, self.max_positions)

    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        """Align, then interpolate."""
        return partial(align_mix, perm=perm, lam=lam, keep=keep, **vars(Alignment.part_of(self)))
