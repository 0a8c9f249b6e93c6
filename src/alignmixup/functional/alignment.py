"""Alignment of two feature maps by a transport plan, and interpolation of the aligned maps."""

from typing import Any, Literal

import torch
from torch import Tensor

from alignmixup.functional.alignment_native import (
    gradient_native,
    interpolate_native,
    interpolates_natively,
    is_permutation,
)
from alignmixup.functional.interpolation import check_pairing, lerp, partners
from alignmixup.functional.native import runs_natively
from alignmixup.functional.parts import parts
from alignmixup.functional.transport.cpu import distances_native
from alignmixup.functional.transport.options import Alignment, Solver
from alignmixup.functional.transport.plan import assignment_matrix, cost_matrix, relative_cost, sinkhorn

Keep = Literal["first", "partner"]


def _carry(features: Tensor, weights: Tensor) -> Tensor:
    """Average features (B, C, n) into other positions with weights (B, n, m), in float32 under autocast too.

    Half-precision weights would no longer sum to 1: a bfloat16 row is off by up to 0.4 %.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        return torch.bmm(features.to(wide), weights.to(wide))


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
        a: (B, C, r) features A of the first maps.
        b: (B, C, s) features A' of their partners.
        assignment: (B, r, s) from :func:`assignment_matrix`; rows sum to 1 and columns to r / s.

    Returns:
        ``b`` at the positions of ``a``, (B, C, r), and ``a`` at the positions of ``b``, (B, C, s). Differentiable in
        the features and in the assignment.

    Raises:
        ValueError: shapes do not fit together.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, Eqs. (7) and (8).

    Example:
        >>> import torch
        >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> align(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]]), swap)
        (tensor([[[4., 3.]]]), tensor([[[2., 1.]]]))
    """
    expected = (a.shape[0], a.shape[-1], b.shape[-1])
    if a.ndim != 3 or b.ndim != 3 or a.shape[:2] != b.shape[:2] or tuple(assignment.shape) != expected:
        raise ValueError(
            "align needs a (B, C, r), b (B, C, s) and assignment (B, r, s), got "
            f"{tuple(a.shape)}, {tuple(b.shape)} and {tuple(assignment.shape)}"
        )
    return _to_first(b, assignment).to(b.dtype), _to_partner(a, assignment).to(a.dtype)


def align_mix(
    features: Tensor,
    perm: Tensor,
    lam: Tensor,
    keep: Keep = "first",
    *,
    epsilon: float = Alignment.epsilon,
    iterations: int = Alignment.iterations,
    tolerance: float | None = Alignment.tolerance,
    solver: Solver = Alignment.solver,
    normalize_cost: bool = Alignment.normalize_cost,
) -> Tensor:
    """Interpolate feature maps after aligning one to the positions of the other.

    With A and A' the maps of a sample and its partner as C x r matrices and R = r P* the assignment that solves
    P* = argmin <P, M> - ε H(P) over plans with uniform marginals, M the squared distances between positions::

        keep="first":    λ A   + (1 - λ) A' Rᵀ      (geometry of the first, texture mixed in from the partner)
        keep="partner":  λ A R + (1 - λ) A'         (geometry of the partner)

    The plan is constant for autograd: it is found on detached features; gradients flow into A and A'.

    Convention:
        - ``lam`` weighs the first example: with ``keep="first"``, 1 returns ``features`` and 0 the aligned partner.
        - ``keep`` names the example whose positions (geometry) survive.

    Args:
        features: (B, C, h, w) feature maps; any scale; the plan is found in float32 for half precision.
        perm: (B,) int64 partner of each sample.
        lam: (B,) mixing coefficients in [0, 1].
        keep: ``"first"`` or ``"partner"``.
        epsilon: entropic regularisation ε > 0, in units of squared feature distance. Paper: 0.1.
        iterations: cap on the solver's rounds, >= 1. Paper: 100.
        tolerance: stop each sample at this marginal error; None runs the solver's full schedule.
        solver: which solver finds the plan, see :func:`sinkhorn`.
        normalize_cost: divide each sample's cost by its mean, so that ``epsilon`` is relative to the feature scale.

    Returns:
        Mixed features; shape, dtype and device of ``features``.

    Raises:
        TypeError: ``features`` are not floating point.
        ValueError: ``features`` are not four-dimensional, batch sizes differ, or an option is out of range.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, Eqs. (5) to (9).
    """
    check_pairing(features, perm, what="features")
    if features.ndim != 4:
        raise ValueError(f"align_mix needs feature maps of shape (B, C, h, w), got {tuple(features.shape)}")
    if keep not in ("first", "partner"):
        raise ValueError(f"keep must be 'first' or 'partner', got {keep!r}")
    first = features.flatten(2)
    with torch.no_grad():
        cost = _pair_costs(first, perm)
        if normalize_cost:
            cost = relative_cost(cost)
        plan = sinkhorn(cost, epsilon, iterations, tolerance, solver=solver)
        assignment = assignment_matrix(plan.plan)
    mixed: Tensor = _AlignedInterpolation.apply(first, perm, lam, assignment, keep)
    return mixed.view(features.shape)


def _pair_costs(features: Tensor, perm: Tensor) -> Tensor:
    """Costs between each map and its partner's, without a copy of all partners."""
    if runs_natively(features):
        return distances_native(features, features, perm)
    costs = [cost_matrix(features[part], partners(features, perm[part])) for part in parts(features)]
    return torch.cat(costs) if len(costs) > 1 else costs[0]


class _AlignedInterpolation(torch.autograd.Function):
    """The linear map of `align_mix`, once the plan is fixed.

    Recorded operation by operation it would keep the partners' maps and make a full-size gradient for every part of
    the batch; what its gradient needs is the assignment alone.
    """

    @staticmethod
    def forward(first: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, keep: Keep) -> Tensor:
        if interpolates_natively(first):
            return interpolate_native(first, perm, lam, assignment, to_first=keep == "first")
        mixed = torch.empty_like(first)  # keeps channels-last memory
        for part in parts(first):
            own, partner = first[part], partners(first, perm[part])
            if keep == "first":
                partner = _to_first(partner, assignment[part])
            else:
                own = _to_partner(own, assignment[part])
            mixed[part] = lerp(partner, own, lam[part])
        return mixed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, Keep], output: Tensor) -> None:
        _, perm, lam, assignment, ctx.keep = inputs
        ctx.save_for_backward(perm, lam, assignment)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        perm, lam, assignment = ctx.saved_tensors
        # With gradients on, somebody wants the gradient of this gradient.
        if not torch.is_grad_enabled() and interpolates_natively(grad) and is_permutation(perm):
            to_features = gradient_native(grad, perm, lam, assignment, to_first=ctx.keep == "first")
            return to_features, None, None, None, None
        wide = torch.promote_types(grad.dtype, torch.float32)
        weight = lam.to(wide).view(-1, 1, 1)
        to_features = torch.empty_like(grad)
        for part in parts(grad):
            own = weight[part] * grad[part]
            if ctx.keep == "partner":  # the way back of A R
                own = _to_first(own, assignment[part])
            to_features[part] = own.to(grad.dtype)
        for part in parts(grad):
            partner = (1 - weight[part]) * grad[part]
            if ctx.keep == "first":  # the way back of A' Rᵀ
                partner = _to_partner(partner, assignment[part])
            to_features.index_add_(0, perm[part], partner.to(grad.dtype))
        return to_features, None, None, None, None
