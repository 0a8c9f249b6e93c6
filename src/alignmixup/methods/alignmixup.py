"""AlignMixup."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alignmixup.functional.alignment import Keep, align_mix
from alignmixup.functional.cells import AlignmentSize, alignment_size
from alignmixup.functional.sampling import coin
from alignmixup.functional.transport.options import Alignment
from alignmixup.methods.base import Annotation, HiddenDraw, HiddenMixer, Parents
from alignmixup.methods.base.annotations import extent, grid_over, moved, spread
from alignmixup.options import option
from alignmixup.taps import Hidden, Inputs, LayerMix, Probe
from alignmixup.taps.layer_check import LayerReport


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignDraw(HiddenDraw):
    """Draw of AlignMixup."""

    keep: Keep


@dataclass(frozen=True, eq=False)
class AlignedParents(Parents):
    """One of the parents is in place, the other where the assignment brings it, position by position of the map.

    Attributes:
        layer: name of the layer where the features are aligned.
        keep: which one is in place.
        options: of the alignment.
        seen: the features of the clean examples, once the model has seen the batch.
    """

    layer: str
    keep: Keep
    options: Mapping[str, object]
    seen: list[Tensor] = field(default_factory=list)
    in_place: ClassVar[bool] = False

    def watching(self, hidden: Mapping[str, Hidden | LayerMix]) -> Mapping[str, Hidden | LayerMix]:
        """Keep what the layer's function is given."""
        mix = hidden[self.layer]
        assert isinstance(mix, LayerMix)
        return {**hidden, self.layer: replace(mix, function=partial(_keep, seen=self.seen, then=mix.function))}

    def maps(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Carry one image's values by the assignment, as means over the map's positions."""
        first, partner = super().maps(values)
        carried = self._carried(F.adaptive_avg_pool2d(values.float(), self._grid(values.shape[2:])))
        carried = F.interpolate(carried, values.shape[2:], mode="nearest-exact").to(values.dtype)
        return (first, carried) if self.keep == "first" else (carried, partner)

    def boxes(self, boxes: list[Tensor], size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
        """Carry one image's boxes: around the positions that receive at least half as much of one as any does."""
        first, partner = super().boxes(boxes, size)
        grid, most = self._grid(size), max(map(len, boxes), default=0)
        if not most:
            return first, partner
        shares = torch.zeros(len(boxes), most, *grid, dtype=torch.float32, device=self.seen[-1].device)
        for row, own in enumerate(boxes):
            for number, box in enumerate(own):
                rows, columns = spread(box[:4].cpu(), size)
                covered = (rows[:, None] * columns)[None].float()
                shares[row, number] = F.adaptive_avg_pool2d(covered, grid)[0].to(shares.device)
        carried = self._carried(shares).cpu()
        kept, others = (first, partner) if self.keep == "first" else (partner, first)
        scale = torch.tensor([size[1] / grid[1], size[0] / grid[0]] * 2, dtype=torch.float32, device="cpu")
        result = []
        for row, own in enumerate(others):
            around = [extent(_half(carried[row, number])) * scale for number in range(len(own))]
            result.append(moved(own, torch.stack(around) if around else scale.new_zeros(0, 4)))
        return (kept, result) if self.keep == "first" else (result, kept)

    def _carried(self, values: Tensor) -> Tensor:
        """What samples show of one parent's values (B, D, h, w)."""
        features = self.seen[-1]
        lam = 0.0 if self.keep == "first" else 1.0
        return align_mix(features, self.perm, lam, self.keep, **self.options, values=values)  # type: ignore[arg-type]

    def _grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of the map that shows images of a size (H, W)."""
        if not self.seen:
            raise RuntimeError(
                "this batch is aligned inside the model: read its masks and boxes after model(batch.x) in the block"
            )
        shape = self.seen[-1].shape[2:]
        return grid_over(shape, size, self.layer, "masks and boxes cannot follow the alignment there")


def _keep(features: Tensor, *, seen: list[Tensor], then: Hidden) -> Tensor:
    """Keep the map, which comes after those of tokens without a place, and go on."""
    seen[:] = [features.detach()]
    return then(features)


def _half(carried: Tensor) -> Tensor:
    """Which positions have at least half of the largest value."""
    return carried >= carried.max() / 2


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

    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

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
                stacklevel=_to_the_caller(),
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

    def parents(self, draw: HiddenDraw) -> Parents:
        """Tell where a sample shows its parents, once the model has seen it."""
        assert draw.layer is not None
        return AlignedParents(draw.perm, draw.layer, draw.keep, vars(Alignment.part_of(self)))


def _to_the_caller() -> int:
    """How many frames above the function that asks the first line is that is neither ours nor of torch's wrappers."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("alignmixup", "torch"):
        frame, level = frame.f_back, level + 1
    return level
