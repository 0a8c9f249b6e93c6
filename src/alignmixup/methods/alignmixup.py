"""AlignMixup."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from torch import Tensor

from alignmixup.functional.alignment import Keep, align_mix
from alignmixup.functional.sampling import coin
from alignmixup.functional.transport.plan import Solver
from alignmixup.methods.hidden_mixer import HiddenDraw, HiddenMixer
from alignmixup.taps import Hidden, Inputs, Probe
from alignmixup.taps.layer_check import LayerReport


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignDraw(HiddenDraw):
    """Draw of AlignMixup.

    Attributes:
        layer: dotted name of the layer whose maps are aligned; None for plain mixup of the input.
        keep: whose positions survive the aligned interpolation.
    """

    keep: Keep


@dataclass(eq=False, kw_only=True)
class AlignMixup(HiddenMixer):
    """Interpolate feature maps after aligning one to the other by optimal transport, or mix the input.

    Without ``layer`` the last feature map is used and half of the batches are mixed at the input: the published
    recipe. In a network that pools this map globally and then classifies linearly, alignment cancels (see the
    method card); the mixer finds this out from the model and warns once. Options beyond those of
    :class:`HiddenMixer` and :class:`Mixer`:

    Args:
        keep: whose geometry survives: ``"first"``, ``"partner"``, or ``"random"``, a fair coin per batch (paper).
        epsilon: entropic regularisation ε > 0, in units of squared feature distance. Paper: 0.1.
        iterations: cap on the Sinkhorn solver's rounds, >= 1. Paper: 100.
        tolerance: stop each sample at this marginal error; None runs the solver's full schedule.
        solver: which Sinkhorn solver, see :func:`alignmixup.functional.sinkhorn`.
        normalize_cost: divide each sample's cost by its mean, so that ``epsilon`` is relative to the feature scale.

    Source:
        Venkataramanan et al., AlignMixup: Improving Representations By Interpolating Aligned Features, CVPR 2022.
    """

    alpha: float = 2.0
    keep: Literal["first", "partner", "random"] = "random"
    epsilon: float = 0.1
    iterations: int = 100
    tolerance: float | None = None
    solver: Solver = "newton"
    normalize_cost: bool = False

    def _check_options(self) -> None:
        super()._check_options()
        if self.keep not in (*get_args(Keep), "random"):
            raise ValueError(f"keep must be 'first', 'partner' or 'random', got {self.keep!r}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be >= 1, got {self.iterations}")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance must be > 0 or None, got {self.tolerance}")
        if self.solver not in get_args(Solver):
            raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}, got {self.solver!r}")

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
        pairing = super().draw(x, target)
        layer = self.draw_layer()
        keep: Keep
        if self.keep == "random":
            keep = "first" if coin(0.5, generator=self.generator) else "partner"
        else:
            keep = self.keep
        return AlignDraw(lam=pairing.lam, perm=pairing.perm, layer=layer, keep=keep)

    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        """Align, then interpolate."""
        return partial(
            align_mix,
            perm=perm,
            lam=lam,
            keep=keep,
            epsilon=self.epsilon,
            iterations=self.iterations,
            tolerance=self.tolerance,
            solver=self.solver,
            normalize_cost=self.normalize_cost,
        )
