"""Solvers of entropic optimal transport with uniform marginals: annealed Sinkhorn-Newton, and plain Sinkhorn.

Both take finite costs (B, r, s), treat every sample on its own and return ``(plan, rounds)``. They never read
a tensor's value on the host, except on CPU, where that is free and lets them stop early. Input checks and the
public entry point are in `alignmixup.functional.transport.plan`; docs/studies/solver.md tells why it is done this way.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

SWEEPS = 4  # Sinkhorn rounds before each Newton step, which counts as one round more
START = 0.2  # first epsilon, as a fraction of the mean reduced cost
ANNEALING = 0.3  # factor on epsilon, once the Newton step at this epsilon is shorter than SETTLED
SETTLED = 3.0  # in units of epsilon
RADIUS = 6.0  # bound on one Newton step of a potential, in units of epsilon
# exp(-40) is no mass in float32; smaller values would become denormals, which make CPU rounds 3 times slower.
FLOOR = -40.0
# Rounding error of a relative row mass, in units of the machine epsilon: Newton steps must not amplify it.
NOISE = 100.0


class _State(NamedTuple):
    """The samples still being solved."""

    places: Tensor  # (n,) indices into the batch
    reduced: Tensor  # (n, r, s) cost minus both potentials: near 0, so well resolved, where the plan has mass
    epsilon: Tensor  # (n, 1, 1) present regularisation


class _Swept(NamedTuple):
    """Outcome of a few Sinkhorn rounds: the plan and the logarithms of what scaled it."""

    plan: Tensor  # (n, r, s) with exact column masses
    row_mass: Tensor  # (n, r, 1) relative: 1 where exact
    row_shift: Tensor  # (n, r, 1) in units of cost
    column_shift: Tensor  # (n, 1, s)


_Fields = TypeVar("_Fields", _State, _Swept)


def solve_newton(cost: Tensor, epsilon: float, iterations: int, target: float) -> tuple[Tensor, Tensor]:
    """Sinkhorn rounds with a Newton step after every fourth, while epsilon falls to its final value.

    Stops a sample when its L1 marginal error is at most ``target``.
    """
    if cost.shape[1] > cost.shape[2]:  # the Newton system has one unknown for each row
        plan, rounds = solve_newton(cost.transpose(1, 2).contiguous(), epsilon, iterations, target)
        return plan.transpose(1, 2), rounds
    cycle = SWEEPS + 1
    state = _initial_state(cost, epsilon, annealed=iterations > 2 * cycle)
    plan = torch.zeros_like(cost)
    rounds = torch.full_like(state.places, iterations)
    pending = torch.ones_like(state.places, dtype=torch.bool)
    for spent in range(0, iterations, cycle):
        sweeps = min(SWEEPS, iterations - spent)
        swept = _sweep(state, sweeps)
        error = (swept.row_mass - 1).abs().mean(1, keepdim=True)
        done = ((error <= target) & (state.epsilon <= epsilon)).flatten()
        if may_stop_early(cost):
            plan[state.places] = swept.plan
            rounds[state.places[done]] = spent + sweeps
            if done.any():
                state, swept = _select(state, ~done), _select(swept, ~done)
            if state.places.numel() == 0:
                break
        else:
            plan = torch.where(pending[:, None, None], swept.plan, plan)
            rounds = torch.where(pending & done, spent + sweeps, rounds)
            pending = pending & ~done
        if spent + cycle < iterations:
            state = _newton_step(state, swept, epsilon, last_two=spent + 3 * cycle >= iterations)
    return plan, rounds


def solve_plain(
    cost: Tensor, epsilon: float, iterations: int, tolerance: float | None, batch_stop: float | None
) -> tuple[Tensor, Tensor]:
    """Published iteration: row potential, then column potential, from zero."""
    batch, r, s = cost.shape
    exponent = cost / -epsilon
    log_row, log_column = math.log(1 / r + 1e-8), math.log(1 / s + 1e-8)
    u, v = cost.new_zeros(batch, r), cost.new_zeros(batch, s)
    pending = torch.ones(batch, 1, dtype=torch.bool, device=cost.device)
    rounds = torch.zeros(batch, dtype=torch.int64, device=cost.device)
    for _ in range(iterations):
        log_mass = torch.logsumexp(exponent + v.unsqueeze(1), 2)
        if tolerance is not None:
            # The new row sums also tell how far the previous round had come.
            error = ((u + log_mass).exp() - 1 / r).abs().sum(1, keepdim=True)
            pending = pending & ~(error <= tolerance)
            if may_stop_early(cost) and not pending.any():
                break
        u_new = torch.where(pending, log_row - log_mass, u)
        v = torch.where(pending, log_column - torch.logsumexp(exponent + u_new.unsqueeze(2), 1), v)
        rounds = rounds + pending.squeeze(1)
        change = (u_new - u).abs().sum(1).mean() * epsilon
        u = u_new
        if batch_stop is not None and change < batch_stop:
            break
    return (exponent + u.unsqueeze(2) + v.unsqueeze(1)).exp(), rounds


def may_stop_early(cost: Tensor) -> bool:
    """Whether reading a tensor's value on the host is free."""
    return cost.device.type == "cpu"


def _initial_state(cost: Tensor, epsilon: float, *, annealed: bool) -> _State:
    reduced = cost - cost.amin(2, keepdim=True)
    reduced = reduced - reduced.amin(1, keepdim=True)
    start = START * reduced.mean((1, 2), keepdim=True) if annealed else reduced.new_zeros(len(cost), 1, 1)
    return _State(torch.arange(len(cost), device=cost.device), reduced, start.clamp(min=epsilon))


def _select(fields: _Fields, chosen: Tensor) -> _Fields:
    return type(fields)(*(field[chosen] for field in fields))


def _sweep(state: _State, sweeps: int) -> _Swept:
    _, r, s = state.reduced.shape
    # With the smallest entry of each column at 0, no column overflows or vanishes.
    lowest = state.reduced.amin(1, keepdim=True)
    kernel = ((lowest - state.reduced) / state.epsilon).clamp_(min=FLOOR).exp_()
    # Elementwise instead of matmul: reduced-precision matmul modes would spoil the masses.
    column = kernel.sum(1, keepdim=True).reciprocal()
    row = torch.ones_like(kernel[:, :, :1])
    for _ in range(sweeps):
        row = (kernel * column).sum(2, keepdim=True).reciprocal()
        column = (kernel * row).sum(1, keepdim=True).reciprocal()
    plan = kernel.mul_(row).mul_(column / s)
    row_mass = plan.sum(2, keepdim=True) * r
    return _Swept(plan, row_mass, state.epsilon * row.log(), lowest + state.epsilon * (column / s).log())


def _newton_step(state: _State, swept: _Swept, epsilon: float, *, last_two: bool) -> _State:
    plan = swept.plan
    r, s = plan.shape[1:]
    reduced = state.reduced - (swept.row_shift + swept.column_shift)
    # As epsilon falls, log P = -reduced / epsilon grows in proportion to itself: first-order drift of masses.
    drift = plan * reduced / -state.epsilon
    row_drift, column_drift = drift.sum(2, keepdim=True) * r, drift.sum(1, keepdim=True) * s
    row_change = (plan * column_drift).sum(2, keepdim=True) * r - row_drift
    steps = _solve_rows(plan, torch.cat([1 - swept.row_mass, row_change], 2))
    corrector, predictor = steps[:, :, :1], steps[:, :, 1:]
    if last_two:
        lower = torch.full_like(state.epsilon, epsilon)
    else:
        settled = corrector.abs().amax(1, keepdim=True) < SETTLED
        lower = torch.where(settled, (state.epsilon * ANNEALING).clamp(min=epsilon), state.epsilon)
    growth = state.epsilon / lower - 1
    # Positions tied too weakly for their imbalance ask for huge steps; what they need is about the logarithm.
    row_step = RADIUS * torch.tanh((corrector + growth * predictor) / RADIUS)
    column_step = -growth * column_drift - (plan * row_step).sum(1, keepdim=True) * s
    return _State(state.places, reduced.sub_(lower * row_step + lower * column_step), lower)


def _solve_rows(plan: Tensor, masses: Tensor) -> Tensor:
    """Steps of the row potentials, in units of epsilon, that add ``masses`` (n, r, k) to the rows.

    The column potentials follow and are eliminated. What is left is the Laplacian of a graph on the rows,
    with weights ``r s P P^T``. Its diagonal is the sum of these weights: subtracting ``P P^T`` from the row
    masses instead would leave nothing of it where the plan is nearly a permutation.
    """
    _, r, s = plan.shape
    identity = torch.eye(r, dtype=plan.dtype, device=plan.device)
    weights = _gram(plan) * (r * s * (1 - identity))
    scale = (weights.sum(2, keepdim=True) + NOISE * torch.finfo(plan.dtype).eps).rsqrt()
    factor = torch.linalg.cholesky_ex(identity - weights * scale * scale.transpose(1, 2)).L
    half = torch.linalg.solve_triangular(factor, masses * scale, upper=False)
    step = torch.linalg.solve_triangular(factor.transpose(1, 2), half, upper=True) * scale
    step = torch.where(step.isfinite().all(1, keepdim=True), step, 0.0)
    # Only differences count. About the median, a few odd rows do not push all others to the bound on a step.
    middle = (r - 1) // 2  # not median(): it refuses to be deterministic on a GPU
    return step - step.sort(1).values[:, middle : middle + 1]


def _gram(matrix: Tensor) -> Tensor:
    # A batch of one takes another BLAS routine, with other roundings: a sample must not notice its batch.
    pair = matrix.expand(2, -1, -1) if len(matrix) == 1 else matrix
    return torch.bmm(pair, pair.transpose(1, 2))[: len(matrix)]
