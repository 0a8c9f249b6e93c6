# ruff: noqa: PLR0917 - functions of a kernel take positions
# mypy: allow-untyped-decorators
"""The annealed Sinkhorn-Newton loop as one Triton kernel: the mathematics of `solvers.solve_newton`.

One program solves one sample and stops when that sample is done: no launch for each operation, no rounds after
convergence, no read on the host. Its registers hold two tiles of the size of the cost, the reduced cost and the plan,
and during a Newton step a third, the system. Up to 64 x 64 or 32 x 128 the compiler keeps them there; from 64 x 128 on
some of it moves to memory, and until a GPU has shown that this is faster such costs are left to `solve_newton`.

The sides of a tile are powers of two, at least 16. Beyond the cost, reduced cost and masses are 0 and the Newton
system is the identity.

An assembler that does not know the GPU, or a launch that it refuses, is met when it happens: `solve_newton` serves.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from alignmixup.functional.transport import solvers

LIMIT = 128  # positions of either map that the kernel can hold
LARGEST = 64 * 64  # entries of a tile that stays in registers; `make gpu` measures larger ones
SMALLEST = 16  # side that Triton's matrix product asks for
ROUNDS = 2**30  # int32 holds this and a few more

# Kernels read no other globals.
SWEEPS = tl.constexpr(solvers.SWEEPS)
START = tl.constexpr(solvers.START)
ANNEALING = tl.constexpr(solvers.ANNEALING)
SETTLED = tl.constexpr(solvers.SETTLED)
RADIUS = tl.constexpr(solvers.RADIUS)
FLOOR = tl.constexpr(solvers.FLOOR)
NOISE = tl.constexpr(solvers.NOISE * torch.finfo(torch.float32).eps)
PART = tl.constexpr(16)  # columns of the plan that are multiplied at once


class _Variant(NamedTuple):
    """What Triton compiles once for."""

    device: int  # index of the GPU; -1 for the CPU of the interpreter
    rows: int
    columns: int
    aligned: bool  # whether the cost starts at a multiple of 16 bytes


_compiled: set[_Variant] = set()
_failed: set[_Variant] = set()


def fused_fits(cost: Tensor) -> bool:
    """Whether `solve_newton_fused` can take this cost (B, r, s) and is the faster way. Reads no value of it.

    It can if the cost is float32 with at most 128 positions a side, on an NVIDIA GPU from Turing on (any device under
    Triton's interpreter), and is if its tile stays in registers. False also where Triton finds no driver or C compiler.
    """
    rows, columns = _tile(cost)
    if cost.dtype != torch.float32 or max(cost.shape[1:]) > LIMIT or rows * columns > LARGEST:
        return False
    if not isinstance(_solve_sample, triton.JITFunction):  # interpreted
        return True
    return cost.is_cuda and _launches() and torch.cuda.get_device_capability(cost.device) >= (7, 5)


def solve_newton_fused(cost: Tensor, epsilon: float, iterations: int, target: float) -> tuple[Tensor, Tensor]:
    """What `solvers.solve_newton` returns, for a cost that `fused_fits`.

    Differs from it by rounding only; a sample whose error comes out close to ``target`` may stop a cycle earlier or
    later. No sample depends on another.

    Where the kernel cannot be compiled or launched, `solvers.solve_newton` itself serves, for this call and every later
    one with such a tile, after a warning with the reason; also inside a CUDA-graph capture before the kernel is
    compiled, since loading a module would end the capture. The warm-up that a capture needs anyway compiles it.
    """
    batch, r, s = cost.shape
    if r > s:  # the Newton system has one unknown for each row
        plan, rounds = solve_newton_fused(cost.transpose(1, 2), epsilon, iterations, target)
        return plan.transpose(1, 2), rounds
    cost = cost.contiguous()
    variant = _Variant(cost.get_device(), *_tile(cost), cost.data_ptr() % 16 == 0)
    if variant in _failed or (variant not in _compiled and _capturing(cost)):
        return solvers.solve_newton(cost, epsilon, iterations, target)
    plan, rounds = torch.empty_like(cost), torch.empty(batch, dtype=torch.int64, device=cost.device)
    if batch:
        try:
            _launch(cost, plan, rounds, epsilon, target, min(iterations, ROUNDS), variant)
        except Exception as error:  # the compiler, the assembler, the launcher and the driver each have their own
            _failed.add(variant)
            text = "the transport kernel for %d x %d positions cannot run here, tensor operations serve instead: %s"
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            logging.getLogger(__name__).warning(text, variant.rows, variant.columns, reason)
            return solvers.solve_newton(cost, epsilon, iterations, target)
        _compiled.add(variant)
    return plan, rounds


def _launch(
    cost: Tensor, plan: Tensor, rounds: Tensor, epsilon: float, target: float, iterations: int, variant: _Variant
) -> None:
    batch, r, s = cost.shape
    rows, columns = variant.rows, variant.columns
    with torch.cuda.device(variant.device):  # Triton launches on the present device; -1, for CPU, keeps it
        _solve_sample[(batch,)](
            *(cost, plan, rounds, r, s, epsilon, target, iterations, rows, columns),
            num_warps=warps(rows, columns),
            enable_fp_fusion=True,  # the default, which Triton 3.9 announces to change
        )


def _capturing(cost: Tensor) -> bool:
    return cost.is_cuda and torch.cuda.is_current_stream_capturing()


def _tile(cost: Tensor) -> tuple[int, int]:
    """Sides of the tile that holds a cost: rows, which are fewer, and columns."""
    fewer, more = sorted(cost.shape[1:])
    return max(SMALLEST, triton.next_power_of_2(fewer)), max(SMALLEST, triton.next_power_of_2(more))


def warps(rows: int, columns: int) -> int:
    """How many warps share a tile: as few as hold it in their registers."""
    return max(1, min(16, rows * columns // 512))


@cache
def _launches() -> bool:
    try:
        return bool(triton.runtime.driver.active.get_current_target().backend == "cuda")
    except Exception:  # whatever keeps Triton from building its driver, the other solver does without
        return False


@triton.jit(do_not_specialize=["r", "s", "iterations"])
def _solve_sample(
    costs: tl.tensor,
    plans: tl.tensor,
    rounds: tl.tensor,
    r: tl.tensor,
    s: tl.tensor,
    epsilon: tl.tensor,
    target: tl.tensor,
    iterations: tl.tensor,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    sample = tl.program_id(0).to(tl.int64)
    i, j = tl.arange(0, rows), tl.arange(0, columns)
    inside = (i < r)[:, None] & (j < s)[None, :]
    place = sample * r * s + i[:, None] * s + j[None, :]
    reduced, start = _reduce(tl.load(costs + place, mask=inside, other=0.0), r, s)
    cycle = SWEEPS + 1
    present = tl.maximum(tl.where(iterations > 2 * cycle, START * start, 0.0), epsilon)
    spent = 0
    running = True
    while running:
        sweeps = tl.minimum(SWEEPS, iterations - spent)
        plan, row_mass, row_shift, column_shift = _sweep(reduced, present, sweeps, r, s)
        error = tl.sum(tl.where(i < r, tl.abs(row_mass - 1), 0.0), 0) / r
        done = (error <= target) & (present <= epsilon)
        running = (spent + cycle < iterations) & (done == 0)
        if running:
            reduced = tl.where(inside, reduced - (row_shift[:, None] + column_shift[None, :]), 0.0)
            last_two = spent + 3 * cycle >= iterations
            reduced, present = _newton_step(reduced, plan, row_mass, present, epsilon, last_two, r, s)
            spent += cycle
        else:
            tl.store(plans + place, plan, mask=inside)
            tl.store(rounds + sample, tl.where(done, spent + sweeps, iterations).to(tl.int64))


@triton.jit
def _reduce(cost: tl.tensor, r: tl.tensor, s: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    i, j = tl.arange(0, cost.shape[0]), tl.arange(0, cost.shape[1])
    reduced = cost - tl.min(tl.where((j < s)[None, :], cost, float("inf")), 1)[:, None]
    reduced -= tl.min(tl.where((i < r)[:, None], reduced, float("inf")), 0)[None, :]
    reduced = tl.where((i < r)[:, None] & (j < s)[None, :], reduced, 0.0)
    return reduced, tl.sum(tl.sum(reduced, 1), 0) / (r * s)


@triton.jit
def _sweep(
    reduced: tl.tensor,
    present: tl.tensor,
    sweeps: tl.tensor,
    r: tl.tensor,
    s: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    i, j = tl.arange(0, reduced.shape[0]), tl.arange(0, reduced.shape[1])
    inside = (i < r)[:, None] & (j < s)[None, :]
    lowest = tl.min(tl.where((i < r)[:, None], reduced, float("inf")), 0)
    kernel = tl.where(inside, tl.exp(tl.maximum((lowest[None, :] - reduced) / present, FLOOR)), 0.0)
    # Masses beyond the cost are 0; with 1 added there, no quotient is infinite.
    row_rest = tl.where(i < r, 0.0, 1.0)
    column_rest = tl.where(j < s, 0.0, 1.0)
    column = 1 / (tl.sum(kernel, 0) + column_rest)
    row = row_rest + 1
    for _ in range(sweeps):
        row = 1 / (tl.sum(kernel * column[None, :], 1) + row_rest)
        column = 1 / (tl.sum(kernel * row[:, None], 0) + column_rest)
    plan = kernel * row[:, None] * (column / s)[None, :]
    return plan, tl.sum(plan, 1) * r, present * tl.log(row), lowest + present * tl.log(column / s)


@triton.jit
def _newton_step(
    reduced: tl.tensor,
    plan: tl.tensor,
    row_mass: tl.tensor,
    present: tl.tensor,
    epsilon: tl.tensor,
    last_two: tl.tensor,
    r: tl.tensor,
    s: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:
    inside = tl.arange(0, plan.shape[0]) < r
    drift = plan * reduced / -present
    column_drift = tl.sum(drift, 0) * s
    row_change = (tl.sum(plan * column_drift[None, :], 1) - tl.sum(drift, 1)) * r
    lacking = tl.where(inside, 1 - row_mass, 0.0)
    corrector, predictor = _solve_rows(plan, lacking, row_change, r, s)
    settled = tl.max(tl.abs(corrector), 0) < SETTLED
    lower = tl.where(settled, tl.maximum(present * ANNEALING, epsilon), present)
    lower = tl.where(last_two, epsilon, lower)
    growth = present / lower - 1
    row_step = RADIUS * _tanh((corrector + growth * predictor) / RADIUS)
    column_step = -growth * column_drift - tl.sum(plan * row_step[:, None], 0) * s
    return reduced - (lower * row_step[:, None] + (lower * column_step)[None, :]), lower


@triton.jit
def _solve_rows(
    plan: tl.tensor, first: tl.tensor, second: tl.tensor, r: tl.tensor, s: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    i = tl.arange(0, plan.shape[0])
    diagonal = i[:, None] == i[None, :]
    weights = tl.where(diagonal, 0.0, _gram(plan) * (r * s))
    scale = tl.rsqrt(tl.sum(weights, 0) + NOISE)
    matrix = tl.where(diagonal, 1.0, -weights * scale[:, None] * scale[None, :])
    first, second = _eliminate(matrix, first * scale, second * scale, r)
    return _centre(first * scale, r), _centre(second * scale, r)


@triton.jit
def _gram(plan: tl.tensor) -> tl.tensor:
    # In parts: the operands of the whole product would take more registers than there are.
    count: tl.constexpr = plan.shape[1] // PART
    parts = tl.reshape(plan, (plan.shape[0], count, PART))
    place = tl.arange(0, count)[None, :, None]
    gram = tl.zeros((plan.shape[0], plan.shape[0]), tl.float32)
    for k in range(count):
        part = tl.sum(tl.where(place == k, parts, 0.0), 1)
        gram = tl.dot(part, tl.trans(part), gram, input_precision="ieee")
    return gram


@triton.jit
def _eliminate(matrix: tl.tensor, first: tl.tensor, second: tl.tensor, r: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Solve for two right sides by Gauss-Jordan elimination of columns.

    Needs no pivoting, as Cholesky does not, and no second pass. No entry off the diagonal is positive, so all of
    them grow without cancelling. Only the pivots are differences, the same ones as Cholesky's.
    """
    i = tl.arange(0, matrix.shape[0])
    for k in range(r):
        here = i == k
        row = tl.sum(tl.where(here[:, None], matrix, 0.0), 0)
        ratio = tl.where(here, 0.0, row) / tl.sum(tl.where(here, row, 0.0), 0)
        first -= ratio * tl.sum(tl.where(here, first, 0.0), 0)
        second -= ratio * tl.sum(tl.where(here, second, 0.0), 0)
        matrix -= tl.where(i > k, row, 0.0)[:, None] * ratio[None, :]
    pivots = tl.sum(tl.where(i[:, None] == i[None, :], matrix, 0.0), 0)
    pivots = tl.where(pivots > 0, pivots, float("nan"))  # no step, as without a Cholesky factor
    return first / pivots, second / pivots


@triton.jit
def _centre(step: tl.tensor, r: tl.tensor) -> tl.tensor:
    i = tl.arange(0, step.shape[0])
    unusable = tl.sum(tl.where(tl.abs(step) < float("inf"), 0, 1), 0) > 0  # NaN compares as false
    step = tl.where(unusable, 0.0, step)
    ranked = tl.where(i < r, step, float("inf"))
    ahead = (ranked[:, None] < ranked[None, :]) | ((ranked[:, None] == ranked[None, :]) & (i[:, None] < i[None, :]))
    rank = tl.sum(ahead.to(tl.int32), 0)
    middle = tl.sum(tl.where(rank == (r - 1) // 2, step, 0.0), 0)
    return tl.where(i < r, step - middle, 0.0)


@triton.jit
def _tanh(x: tl.tensor) -> tl.tensor:
    fall = tl.exp(-2 * tl.abs(x))
    size = (1 - fall) / (1 + fall)
    # Near 0, the difference from 1 has few digits left.
    return tl.where(tl.abs(x) < 0.05, x - x * x * x / 3, tl.where(x < 0, -size, size))
