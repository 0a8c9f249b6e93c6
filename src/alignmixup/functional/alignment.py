"""Alignment of two feature maps by a transport plan, and interpolation of the aligned maps."""

from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from alignmixup.functional.alignment_native import (
    gradient_native,
    interpolate_native,
    interpolates_natively,
    is_permutation,
)
from alignmixup.functional.arguments import floating, paired, transformed, weights
from alignmixup.functional.cells import Cells, cells_of
from alignmixup.functional.interpolation import lerp, partners
from alignmixup.functional.native import runs_natively
from alignmixup.functional.parts import in_parts, parts
from alignmixup.functional.precision import single, without_autocast
from alignmixup.functional.transport.cpu import distances_native
from alignmixup.functional.transport.options import Alignment, Solver
from alignmixup.functional.transport.plan import assignment_matrix, cost_matrix, relative_cost, sinkhorn

Keep = Literal["first", "partner"]


def _carry(features: Tensor, weights: Tensor) -> Tensor:
    """Average features (B, C, n) into other positions with weights (B, n, m), in float32 under autocast too.

    Half-precision weights would no longer sum to 1: a bfloat16 row is off by up to 0.4 %.
    """
    features = single(features)
    with without_autocast(features):
        return torch.bmm(features, weights.to(features.dtype))


def _to_first(b: Tensor, assignment: Tensor) -> Tensor:
    """Carry the partner's features to the positions of the first map: A' Rᵀ."""
    return _carry(b, assignment.mT)


def _to_partner(a: Tensor, assignment: Tensor) -> Tensor:
    """Carry the first map's features to the positions of the partner: A R, rescaled when r differs from s."""
    r, s = assignment.shape[1:]
    return _carry(a, assignment if r == s else assignment * (s / r))


def align(a: Tensor, b: Tensor, assignment: Tensor) -> tuple[Tensor, Tensor]:
    """Carry each map's features to the positions of the other, by the assignment R.

    Convention:
        - the first result, A' Rᵀ, has the geometry of ``a`` and the content (texture) of ``b``;
        - the second, A R, has the geometry of ``b`` and the content of ``a``.

    Args:
        a: ``(B, C, *positions)`` features A of the first maps, r positions in all, numbered row by row.
        b: ``(B, C, *positions)`` features A' of their partners, s positions.
        assignment: (B, r, s) from :func:`assignment_matrix`; rows sum to 1 and columns to r / s.

    Returns:
        ``b`` at the positions of ``a``, shaped like ``a``, and ``a`` at the positions of ``b``, shaped like ``b``.
        Differentiable in the features and in the assignment.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, Eqs. (7) and (8).

    Example:
        >>> import torch
        >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> align(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]]), swap)
        (tensor([[[4., 3.]]]), tensor([[[2., 1.]]]))
    """
    floating("a", a, "B C *positions")
    floating("b", b, "B C *positions", like=a, B=a.shape[0], C=a.shape[1])
    first, partner = a.flatten(2), b.flatten(2)
    floating("assignment", assignment, "B r s", like=a, B=len(a), r=first.shape[2], s=partner.shape[2])
    to_first, to_partner = _to_first(partner, assignment), _to_partner(first, assignment)
    return to_first.to(b.dtype).reshape(a.shape), to_partner.to(a.dtype).reshape(b.shape)


def align_mix(
    features: Tensor,
    perm: Tensor,
    lam: Tensor | float,
    keep: Keep = "first",
    *,
    epsilon: float = Alignment.epsilon,
    iterations: int = Alignment.iterations,
    tolerance: float | None = Alignment.tolerance,
    solver: Solver = Alignment.solver,
    normalize_cost: bool = Alignment.normalize_cost,
    max_positions: int | None = Alignment.max_positions,
    values: Tensor | None = None,
) -> Tensor:
    """Interpolate feature maps after aligning one to the positions of the other.

    With A and A' the maps of a sample and its partner as C x r matrices and R = r P* the assignment that solves
    P* = argmin <P, M> - ε H(P) over plans with uniform marginals, M the squared distances between positions::

        keep="first":    λ A   + (1 - λ) A' Rᵀ      (geometry of the first, texture mixed in from the partner)
        keep="partner":  λ A R + (1 - λ) A'         (geometry of the partner)

    The plan is constant for autograd: it is found on detached features; gradients flow into A, A' and λ.

    A plan's cost grows with the third power of the positions. Maps of more than ``max_positions`` are aligned coarse
    to fine: the same problem over the plans that move equal cells of neighbouring positions as wholes, each position
    keeping its place inside its cell. Less than a cell at the borders of the map, where its sides are no multiples of
    a cell's, is mixed without being aligned.

    Convention:
        - ``lam`` weighs the first example: with ``keep="first"``, 1 returns ``features`` and 0 the aligned partner.
        - ``keep`` names the example whose positions (geometry) survive.

    Args:
        features: ``(B, C, *positions)`` maps with one or more axes of positions; any scale; the plan is found in
            float32 for half precision.
        perm: (B,) integer partner of each sample.
        lam: mixing coefficients in [0, 1], (B,) or one number.
        keep: ``"first"`` or ``"partner"``.
        epsilon: entropic regularisation ε > 0, in units of squared feature distance. Paper: 0.1.
        iterations: cap on the solver's rounds, >= 1. Paper: 100.
        tolerance: stop each sample at this marginal error; None runs the solver's full schedule.
        solver: which solver finds the plan, see :func:`sinkhorn`.
        normalize_cost: divide each sample's cost by its mean, so that ``epsilon`` is relative to the feature scale.
        max_positions: most positions of a plan; None aligns every position by itself, whatever that costs.
        values: ``(B, D, *positions)`` what to interpolate in place of the features that are matched, such as masks at
            the same positions.

    Returns:
        Mixed features; shape, dtype and device of ``features``, or of ``values``.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, Eqs. (5) to (9). Deviation: cells in large maps, and λ has a
        gradient.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 8.0]], [[9.0, 1.0]]])
        >>> align_mix(maps, torch.tensor([1, 0]), 0.5).flatten(1)  # 0 meets 1 and 8 meets 9, wherever they stand
        tensor([[0.5000, 8.5000],
                [8.5000, 0.5000]])
    """
    perm = paired("features", features, perm, "B C *positions")
    lam = weights("lam", lam, features)
    if keep not in ("first", "partner"):
        raise ValueError(f"keep must be 'first' or 'partner', got {keep!r}")
    if values is not None:
        floating("values", values, "B D *positions", like=features, B=len(features))
        if values.shape[2:] != features.shape[2:]:
            raise ValueError(
                f"values must have the features' positions {tuple(features.shape[2:])}, got {tuple(values.shape[2:])}"
            )
    cells = cells_of(features.shape[2:], max_positions)
    volume = prod(cells.side)  # no property: the compiler of torch 2.6 reads none of a tuple
    whole = volume == 1
    maps = _as_cells(features, cells)
    with torch.no_grad():
        cost = _pair_costs(maps.detach(), perm)
        if not whole:
            cost = cost / volume
        if normalize_cost:
            cost = relative_cost(cost)
        plan = sinkhorn(cost, epsilon, iterations, tolerance, solver=solver)
        assignment = assignment_matrix(plan.plan)
    others = features if values is None else values
    mixed = _interpolate(maps if values is None else _as_cells(others, cells), perm, lam, assignment, keep, False)
    if whole:
        return mixed.view(others.shape)
    result = lerp(partners(others, perm), others, lam)
    result[cells.covered(others.shape[2:])] = cells.join(mixed, others.shape[1])
    return result


def batch_assignments(features: Tensor, options: Alignment) -> Tensor:
    """Align each map of a batch to each other one: B (B - 1) / 2 plans, each used in both directions.

    Each map is in place for itself. Constant for autograd, as in :func:`align_mix`.

    Args:
        features: (B, C, r) maps.
        options: of the alignment. Nothing is aligned coarse to fine here.

    Returns:
        (B, B, r, r), float32 at least: at ``[i, j]`` what each position of map i receives from those of map j; rows
        sum to 1.

    Raises:
        ValueError: maps of more than ``max_positions``.
    """
    size, _, r = features.shape
    if options.max_positions is not None and r > options.max_positions:
        raise ValueError(
            f"each pair of a batch would need a plan of {r} x {r} positions, and max_positions is "
            f"{options.max_positions}: name a smaller map, or allow more"
        )
    with torch.no_grad():
        flat = features.detach().transpose(0, 1).reshape(1, -1, size * r)  # all positions, so that no map is repeated
        first, second = torch.triu_indices(size, size, 1, device=features.device)
        cost = cost_matrix(flat, flat).view(size, r, size, r)[first, :, second]
        if options.normalize_cost:
            cost = relative_cost(cost)
        plan = sinkhorn(cost, options.epsilon, options.iterations, options.tolerance, solver=options.solver).plan
        assignment = assignment_matrix(plan)
        carried = torch.eye(r, dtype=plan.dtype, device=plan.device).repeat(size, size, 1, 1)
        carried[first, second], carried[second, first] = assignment, assignment.mT
        # exactly, also where the solver stopped early
        return carried / carried.sum(3, keepdim=True).clamp_min(torch.finfo(carried.dtype).tiny)


def _as_cells(maps: Tensor, cells: Cells) -> Tensor:
    """Maps (B, C, *positions) as (B, C * volume, cells), without what lies around whole cells."""
    return maps.flatten(2) if prod(cells.side) == 1 else cells.split(maps[cells.covered(maps.shape[2:])])


def _pair_costs(features: Tensor, perm: Tensor) -> Tensor:
    """Costs between each map and its partner's, without a copy of all partners."""
    if runs_natively(features) and not transformed(perm):
        return distances_native(features, features, perm)
    return in_parts(lambda part: cost_matrix(features[part], partners(features, perm[part])), features)


class _AlignedInterpolation(torch.autograd.Function):
    """The linear map of `align_mix`, once the plan is fixed, or with ``back`` its transpose: each other's gradient.

    Recorded operation by operation it would keep the partners' maps and make a full-size gradient for every part of
    the batch; what its gradient needs is the assignment alone, and the maps where λ asks for one.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes positions
        maps: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, keep: Keep, back: bool
    ) -> Tensor:
        if back:
            return _mix_back(maps, perm, lam, assignment, keep)
        if interpolates_natively(maps):
            return interpolate_native(maps, perm, lam, assignment, to_first=keep == "first")
        mixed = torch.empty_like(maps)  # keeps channels-last memory
        for part in parts(maps):
            own, partner = maps[part], partners(maps, perm[part])
            if keep == "first":
                partner = _to_first(partner, assignment[part])
            else:
                own = _to_partner(own, assignment[part])
            mixed[part] = lerp(partner, own, lam[part])
        return mixed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, Keep, bool], output: Tensor) -> None:
        maps, perm, lam, assignment, ctx.keep, ctx.back = inputs
        ctx.save_for_backward(maps if lam.requires_grad else None, perm, lam, assignment)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None, None]:
        maps, perm, lam, assignment = ctx.saved_tensors
        to_maps = to_lam = None
        if ctx.needs_input_grad[0]:
            to_maps = _interpolate(grad, perm, lam, assignment, ctx.keep, not ctx.back)
        if ctx.needs_input_grad[2]:  # both are <one, mixture of the other>
            one, other = (maps, grad) if ctx.back else (grad, maps)
            slope = _slope(other, (perm, lam, assignment), ctx.keep)
            to_lam = (one.to(lam.dtype) * slope.to(lam.dtype)).flatten(1).sum(1)
        return to_maps, None, to_lam, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        """Several batches are one batch, whose partners stay in their own."""
        *tensors, keep, back = inputs
        size = info.batch_size
        spread = [
            value.movedim(dim, 0) if dim is not None else value.expand(size, *value.shape)
            for value, dim in zip(tensors, in_dims, strict=False)
        ]
        batch = spread[1].shape[1]
        spread[1] = spread[1] + batch * torch.arange(size, device=spread[1].device)[:, None]
        maps, perm, lam, assignment = (value.flatten(0, 1) for value in spread)
        mixed = _interpolate(maps, perm, lam, assignment, keep, back)
        return mixed.view(size, batch, *mixed.shape[1:]), 0


class _WithTangents(_AlignedInterpolation):
    """The same for forward-mode derivatives too, which ``torch.compile`` does not take."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, Keep, bool], output: Tensor) -> None:
        _AlignedInterpolation.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:4])

    @staticmethod
    def jvp(ctx: Any, maps_tangent: Tensor | None, _: None, lam_tangent: Tensor | None, *rest: None) -> Tensor:
        maps, perm, lam, assignment = ctx.saved_tensors
        tangent = torch.zeros_like(maps)
        if maps_tangent is not None:
            tangent = _interpolate(maps_tangent, perm, lam, assignment, ctx.keep, ctx.back)
        if lam_tangent is not None:
            weight = lam_tangent[:, None, None].to(maps.dtype)
            if ctx.back:
                tangent = tangent + _slope(weight * maps, (perm, lam, assignment), ctx.keep, True)
            else:
                tangent = tangent + weight * _slope(maps, (perm, lam, assignment), ctx.keep)
        return tangent


def _interpolate(  # noqa: PLR0917 - autograd passes positions
    maps: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, keep: Keep, back: bool = False
) -> Tensor:
    function = _AlignedInterpolation if torch.compiler.is_compiling() else _WithTangents
    mixed: Tensor = function.apply(maps, perm, lam, assignment, keep, back)  # compiled code fills in no default
    return mixed


def _slope(maps: Tensor, constants: tuple[Tensor, Tensor, Tensor], keep: Keep, back: bool = False) -> Tensor:
    """Derivative of the interpolation by λ, which enters linearly."""
    perm, lam, assignment = constants
    one, zero = (
        _interpolate(maps, perm, fill(lam), assignment, keep, back) for fill in (torch.ones_like, torch.zeros_like)
    )
    return one - zero


def _mix_back(grad: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, keep: Keep) -> Tensor:
    """The transpose of the interpolation: what each map receives, as first example and as partner."""
    if interpolates_natively(grad) and is_permutation(perm):
        return gradient_native(grad, perm, lam, assignment, to_first=keep == "first")
    wide = torch.promote_types(grad.dtype, torch.float32)
    weight = lam.to(wide).view(-1, 1, 1)
    to_maps = torch.empty_like(grad)
    for part in parts(grad):
        own = weight[part] * grad[part]
        if keep == "partner":  # the way back of A R
            own = _to_first(own, assignment[part])
        to_maps[part] = own.to(grad.dtype)
    for part in parts(grad):
        partner = (1 - weight[part]) * grad[part]
        if keep == "first":  # the way back of A' Rᵀ
            partner = _to_partner(partner, assignment[part])
        to_maps.index_add_(0, perm[part], partner.to(grad.dtype))
    return to_maps
