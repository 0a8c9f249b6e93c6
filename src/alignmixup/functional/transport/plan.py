"""Optimal transport between the positions of two feature maps: cost, plan, assignment."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from alignmixup.functional.arguments import floating, transformed
from alignmixup.functional.native import runs_natively
from alignmixup.functional.parts import in_parts
from alignmixup.functional.precision import single, widest, without_autocast
from alignmixup.functional.transport.cpu import distances_native, native_fits, solve_newton_native
from alignmixup.functional.transport.options import Alignment, Solver
from alignmixup.functional.transport.solvers import solve_newton, solve_plain


class TransportPlan(NamedTuple):
    """What `sinkhorn` returns: a plan for each sample, and how far it got.

    Attributes:
        plan: (B, r, s); columns sum to 1/s to rounding, rows to 1/r within ``marginal_error``.
        marginal_error: (B,) L1 error of both marginals together, measured on ``plan``; at most 2.
        iterations: (B,) int64, rounds spent on each sample.
        converged: (B,) bool, ``marginal_error`` <= ``tolerance`` (1e-3 if that is None); False for NaN plans.

    Example:
        >>> import torch
        >>> found = sinkhorn(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), epsilon=0.1)
        >>> found.plan.round(decimals=3), bool(found.converged)
        (tensor([[[0.5000, 0.0000],
                 [0.0000, 0.5000]]]), True)
    """

    plan: Tensor
    marginal_error: Tensor
    iterations: Tensor
    converged: Tensor


def cost_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances between the positions of two feature maps.

    ``cost[n, i, j] = |a[n, :, i] - b[n, :, j]|^2``, summed over channels and not scaled. Nothing of size
    (B, r, s, C) is made: by C code on the CPU where no gradient is asked for, elsewhere by one batched matrix
    product of centred features in float64 (float32 on MPS, which has no other): rounding would exceed epsilon where
    norms are large.

    Convention:
        Row = position of ``a``, the first example; column = position of ``b``, the partner.

    Args:
        a: ``(B, C, *positions)``, r positions; half precision is computed in float32, also under autocast.
        b: ``(B, C, *positions)``, s positions, same B and C.

    Returns:
        (B, r, s), >= 0, float32 (float64 if an input is). Differentiable.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022. Deviation: the matrix product.

    Example:
        >>> import torch
        >>> cost_matrix(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 3.0]]]))
        tensor([[[1., 9.],
                 [0., 4.]]])
    """
    floating("a", a, "B C *positions")
    floating("b", b, "B C *positions", like=a, B=a.shape[0], C=a.shape[1])
    a, b = a.flatten(2), b.flatten(2)
    with without_autocast(a):
        if runs_natively(a, b) and not (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)):
            return distances_native(a, b, torch.arange(len(b), device="cpu"))
        return in_parts(lambda part: _distances(single(a[part]), single(b[part])), a)


def relative_cost(cost: Tensor) -> Tensor:
    """Each sample's cost over its own mean, so that epsilon is relative to the scale of the features: (B, r, s)."""
    return cost / cost.mean(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(cost.dtype).tiny)


def sinkhorn(
    cost: Tensor,
    epsilon: float = Alignment.epsilon,
    iterations: int = Alignment.iterations,
    tolerance: float | None = Alignment.tolerance,
    *,
    solver: Solver = Alignment.solver,
    batch_stop: float | None = None,
) -> TransportPlan:
    """Entropic optimal transport plan with uniform marginals, for each sample of a batch.

    Minimises ``sum(P * cost) + epsilon * sum(P * (log P - 1))`` over plans with row sums 1/r and column sums
    1/s. ``"newton"`` lowers epsilon to its final value in steps, and after every fourth Sinkhorn round takes
    a Newton step on the dual: it converges in 4 to 80 rounds where plain Sinkhorn needs thousands.
    ``"plain"`` is the published loop. A sample's plan depends on that sample alone, unless ``batch_stop`` is
    given.

    Convention:
        - Columns are updated last, so they are exact even for a sample that has not converged; look at
          ``converged`` before relying on the rows.
        - The plan is a constant for autograd.
        - A cost with NaN or infinity, or so large that its sum overflows, gives that sample, and no other, a NaN plan
          and ``converged`` False.

    Args:
        cost: (B, r, s), any scale and sign; half precision is computed in float32.
        epsilon: entropic regularisation, > 0, in units of cost. Paper: 0.1.
        iterations: cap on the rounds of a sample, >= 1; a Newton step counts as one. Paper: 100. Samples stop
            on their own: on the CPU the batch shrinks; on an NVIDIA GPU one kernel solves each of up to 64 x 64
            positions; where that kernel cannot run, all rounds are launched and converged samples are frozen. No
            value is read on the host.
        tolerance: L1 marginal error at which a sample stops, > 0. None: ``"newton"`` goes on to 1e-5 (1e-8 in
            float64), ``"plain"`` runs every round.
        solver: ``"newton"`` or ``"plain"``.
        batch_stop: for parity with the reference code only: ``"plain"`` stops once the batch mean of the
            summed change of the row potentials, in units of cost, is below it (reference: 0.1). Reads a value
            on the host every round, so it is slow on a GPU.

    Returns:
        The plan and its diagnostics; float32, float64 if ``cost`` is.

    Source:
        Cuturi, Sinkhorn distances, NeurIPS 2013; Venkataramanan et al., AlignMixup, CVPR 2022, for the plain
        loop.

    Example:
        >>> import torch
        >>> sinkhorn(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), epsilon=1.0).plan
        tensor([[[0.3655, 0.1345],
                 [0.1345, 0.3655]]])
    """
    if isinstance(cost, Tensor) and cost.ndim == 2:
        raise ValueError(
            f"cost must have shape (B, r, s), got {tuple(cost.shape)}: give one sample a batch axis, cost.unsqueeze(0)"
        )
    floating("cost", cost, "B r s")
    with torch.no_grad(), without_autocast(cost):
        cost = single(cost.detach())  # forward derivatives too, which no_grad lets through
        limit = torch.finfo(cost.dtype).max / (2 * cost.shape[1] * cost.shape[2])  # their sum is taken too
        finite = cost.abs().amax((1, 2), keepdim=True) <= limit
        solve = _solve_operator if torch.compiler.is_compiling() or transformed(cost) else _solve
        known = torch.where(finite, cost, 0.0)
        plan, rounds = solve(
            known, solver=solver, epsilon=epsilon, iterations=iterations, tolerance=tolerance, batch_stop=batch_stop
        )
        _, r, s = cost.shape
        plan = plan / (plan.sum(1, keepdim=True) * s)
        plan = torch.where(finite, plan, torch.nan)
        error = (plan.sum(2) - 1 / r).abs().sum(1) + (plan.sum(1) - 1 / s).abs().sum(1)
    return TransportPlan(plan, error, rounds, error <= (1e-3 if tolerance is None else tolerance))


def assignment_matrix(plan: Tensor) -> Tensor:
    """Assignment matrix ``R = r P`` of a transport plan.

    Convention:
        Row i holds the weights with which position i of the first example averages the partner's positions:
        rows sum to 1 for a converged plan. Columns sum to r/s, that is to 1 for maps of equal size.

    Args:
        plan: (B, r, s), the ``plan`` field of what `sinkhorn` returns.

    Returns:
        (B, r, s), same dtype.

    Example:
        >>> import torch
        >>> assignment_matrix(torch.tensor([[[0.5, 0.0], [0.0, 0.5]]]))
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    floating("plan", plan, "B r s")
    return plan * plan.shape[1]


def _solve(
    cost: Tensor,
    *,
    solver: str,
    epsilon: float,
    iterations: int,
    tolerance: float | None,
    batch_stop: float | None,
) -> tuple[Tensor, Tensor]:
    _check(solver, epsilon, iterations, tolerance, batch_stop)
    with without_autocast(cost):  # compiled code runs this under the caller's autocast
        # Below the smallest number of the cost's type, epsilon would be 0: a division by it.
        limits = torch.finfo(cost.dtype)
        epsilon = min(max(epsilon, limits.tiny), limits.max)
        # A little below the tolerance, so that rounding does not put a stopped sample above it.
        target = 0.9 * tolerance if tolerance else None
        cost = cost.contiguous()  # and so what is made of it, as the operator promises
        if solver == "plain":
            return solve_plain(cost, epsilon, iterations, target, batch_stop)
        target = target or (1e-8 if cost.dtype == torch.float64 else 1e-5)
        plan, rounds = _newton(cost)(cost, epsilon, iterations, target)
        return plan.contiguous(), rounds


def _check(solver: str, epsilon: float, iterations: int, tolerance: float | None, batch_stop: float | None) -> None:
    Alignment(epsilon=epsilon, iterations=iterations, tolerance=tolerance, solver=cast(Solver, solver))
    if batch_stop is not None and solver != "plain":
        raise ValueError(f"batch_stop needs solver='plain', got solver={solver!r}; use tolerance instead")
    if batch_stop is not None and not 0 < batch_stop < math.inf:
        raise ValueError(f"batch_stop must be > 0 or None, got {batch_stop!r}")


def _newton(cost: Tensor) -> Callable[[Tensor, float, int, float], tuple[Tensor, Tensor]]:
    """C code or one kernel where they can run, batched tensor operations elsewhere: the same mathematics."""
    if cost.device.type == "cpu":
        return solve_newton_native if native_fits(cost) else solve_newton
    if cost.device.type != "cuda" or not _has_triton():
        return solve_newton
    from alignmixup.functional.transport import cuda as transport_kernel

    return transport_kernel.solve_newton_fused if transport_kernel.fused_fits(cost) else solve_newton


@cache
def _has_triton() -> bool:
    try:
        importlib.import_module("triton")
    except ImportError:  # not there, or 3.2, of torch 2.6, without the setuptools that it does not ask for
        return False
    return True


# One operator for torch.compile: unrolled, the rounds take minutes to compile and could not stop early. Eager
# code calls the function itself: an operator's first call imports the compiler, for seconds.
_solve_operator = torch.library.custom_op("alignmixup::solve_transport", _solve, mutates_args=())


@_solve_operator.register_fake
def _shapes(cost: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    # Compiled code that raises as it runs leaves autocast entered and gradients off: later steps under bf16 would use
    # old weights. So what is known when it is compiled is refused then.
    if not any(isinstance(value, torch.SymInt | torch.SymFloat) for value in options.values()):
        _check(**options)
    return cost.new_empty(cost.shape), cost.new_empty(cost.shape[0], dtype=torch.int64)


@_solve_operator.register_vmap
def _solve_together(
    info: Any, in_dims: tuple[int], cost: Tensor, *, batch_stop: float | None, **options: Any
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """Several batches are one batch: no sample's plan depends on another."""
    if batch_stop is not None:
        raise ValueError(
            f"batch_stop={batch_stop} looks at a whole batch, which vmap takes apart: use tolerance instead"
        )
    batches = cost.movedim(in_dims[0], 0)
    plan, rounds = _solve_operator(batches.flatten(0, 1), batch_stop=None, **options)
    return (plan.view(batches.shape), rounds.view(batches.shape[:2])), (0, 0)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # |a|^2 + |b|^2 - 2ab cancels: in float32 with |a|^2 near 1e6 it would be off by epsilon, and by more where the
    # backend rounds the inputs of a product (TF32). Centring takes away a common offset.
    narrow, wide = torch.promote_types(a.dtype, b.dtype), widest(a.device)
    a, b = a.to(wide), b.to(wide)
    centre = (a.mean(2, keepdim=True) + b.mean(2, keepdim=True)) / 2
    a, b = a - centre, b - centre
    squares = a.square().sum(1).unsqueeze(2) + b.square().sum(1).unsqueeze(1)
    return (squares - 2 * torch.bmm(a.transpose(1, 2), b)).clamp(min=0.0).to(narrow)
