"""Feature maps of pairs of images, matched position by position."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from alignmixup.functional.alignment import align
from alignmixup.functional.cells import cells_of
from alignmixup.functional.interpolation import lerp
from alignmixup.functional.transport.options import Alignment
from alignmixup.functional.transport.plan import assignment_matrix, cost_matrix, relative_cost, sinkhorn
from alignmixup.taps import FeatureTap, Layout, feature_maps

Path = Literal["first", "partner", "none"]
PATHS: tuple[Path, ...] = get_args(Path)


class Pairs(NamedTuple):
    """A batch of pairs of images, normalised, (n, ...) each, and their labels, (n,) int64 each."""

    first: Tensor
    partner: Tensor
    y_first: Tensor
    y_partner: Tensor


@dataclass(frozen=True, eq=False)
class PairMaps:
    """The maps of pairs of images at one layer, and each one carried to the positions of the other.

    Attributes:
        first: (n, C, h, w) maps A of the first examples.
        partner: (n, C, h, w) maps A' of their partners.
        size: what moves as a whole, along each axis, r in all: positions, or in large maps cells of neighbouring ones.
        cost: (n, r, r) squared distances between them (between cells: the mean over their positions).
        assignment: (n, r, r) assignment R.
        partner_at_first: (n, C, h, w) A' Rᵀ, the partner's content in the geometry of the first.
        first_at_partner: (n, C, h, w) A R, the first's content in the geometry of the partner.
    """

    first: Tensor
    partner: Tensor
    size: tuple[int, int]
    cost: Tensor
    assignment: Tensor
    partner_at_first: Tensor
    first_at_partner: Tensor

    @property
    def positions(self) -> str:
        """Say how many positions there are, and cells where those move."""
        (height, width), (rows, columns) = self.first.shape[2:], self.size
        cells = "" if (rows, columns) == (height, width) else f" as {rows} x {columns} cells"
        return f"{height} x {width} positions{cells}"

    def mix(self, lam: Tensor, path: Path) -> Tensor:
        """Interpolate to (n, C, h, w), with weights (n,) of the first examples.

        ``"first"`` and ``"partner"`` name the example whose geometry survives, as ``keep`` does in
        :func:`alignmixup.functional.align_mix`; ``"none"`` interpolates position by position, unaligned.
        """
        first = self.first_at_partner if path == "partner" else self.first
        partner = self.partner_at_first if path == "first" else self.partner
        return lerp(partner.clone(), first, lam)


def align_pairs(first: Tensor, partner: Tensor, alignment: Alignment) -> PairMaps:
    """Match the positions of pairs of feature maps (n, C, h, w) and carry each map to the positions of the other.

    Half precision is computed in float32. Maps of more than ``alignment.max_positions`` positions are aligned coarse to
    fine, as by :func:`alignmixup.functional.align_mix`: cells move, and what they leave at the borders stays where it
    is. ValueError where shapes differ or an option is out of range.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, Eqs. (5) to (8).
    """
    if first.shape != partner.shape or first.ndim != 4:
        raise ValueError(f"maps must be (n, C, h, w) alike, got {tuple(first.shape)} and {tuple(partner.shape)}")
    cells = cells_of(first.shape[2:], alignment.max_positions)
    covered = cells.covered(first.shape[2:])
    a, b = (cells.split(maps[covered]) for maps in (first, partner))
    cost = cost_matrix(a, b) / cells.volume
    scaled = relative_cost(cost) if alignment.normalize_cost else cost
    plan = sinkhorn(scaled, alignment.epsilon, alignment.iterations, alignment.tolerance, solver=alignment.solver)
    assignment = assignment_matrix(plan.plan)
    at_first, at_partner = partner.clone(), first.clone()
    for result, carried in zip((at_first, at_partner), align(a, b, assignment), strict=True):
        result[covered] = cells.join(carried, first.shape[1])
    height, width = cells.counts
    return PairMaps(first, partner, (height, width), cost, assignment, at_first, at_partner)


def pair_maps(
    model: nn.Module, layer: str, pairs: Pairs, alignment: Alignment, *, layout: Layout | None = None
) -> PairMaps:
    """Run pairs of images up to a layer, in eval mode, and match the positions of their maps there.

    Arguments as `classify_maps`. ValueError for no such layer (near names are listed), or an option out of range.
    """
    tap = FeatureTap.of(model)
    layer = tap.resolve(layer)
    count = len(pairs.first)
    maps = feature_maps(tap.root, torch.cat([pairs.first, pairs.partner]), (layer,), layout)[layer].float()
    return align_pairs(maps[:count], maps[count:], alignment)


@dataclass(frozen=True)
class Correspondence:
    """How sharp an alignment is and what it saves, for n pairs.

    Attributes:
        entropy: (n, r) entropy of each row of the assignment, in nats: 0 where a position takes one partner position,
            log r where it takes all alike.
        distances: (n, r) mean squared distance of each position to those that it is matched with.
        distance: (n,) their mean over positions.
        distance_unaligned: (n,) the same between equal positions.
        distance_any: (n,) the same between all positions.
        moved: (n,) share of the plan's mass that goes to another position than its own: 0 where the plan is the
            identity, so that alignment changes nothing.
    """

    entropy: Tensor
    distances: Tensor
    distance: Tensor
    distance_unaligned: Tensor
    distance_any: Tensor
    moved: Tensor


def correspondence(maps: PairMaps) -> Correspondence:
    """Measure the alignment of pairs."""
    rows = maps.assignment / maps.assignment.sum(2, keepdim=True)  # an unconverged row does not sum to 1
    distances = (maps.assignment * maps.cost).sum(2)
    return Correspondence(
        entropy=torch.special.entr(rows).sum(2),
        distances=distances,
        distance=distances.mean(1),
        distance_unaligned=maps.cost.diagonal(dim1=1, dim2=2).mean(1),
        distance_any=maps.cost.mean(dim=(1, 2)),
        moved=1 - rows.diagonal(dim1=1, dim2=2).mean(1),
    )
