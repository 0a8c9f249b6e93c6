"""The annealed Sinkhorn-Newton loop and the distances between positions, in C for the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from alignmixup.functional.native import call, dense, runs_natively
from alignmixup.functional.transport import solvers

LIMIT = 256  # positions of either map; beyond, the matrix products behind the batched solver win


_FACTORS = ("start", "annealing", "settled", "radius", "floor", "noise")


class _Constants(ctypes.Structure):
    _fields_ = (("sweeps", ctypes.c_int), *((name, ctypes.c_float) for name in _FACTORS))


_CONSTANTS = _Constants(solvers.SWEEPS, *(getattr(solvers, name.upper()) for name in _FACTORS))
_CONSTANTS.noise *= torch.finfo(torch.float32).eps


def native_fits(cost: Tensor) -> bool:
    """Whether `solve_newton_native` can take this cost (B, r, s): float32 on the CPU, at most 256 positions a side."""
    return max(cost.shape[1:]) <= LIMIT and runs_natively(cost)


def solve_newton_native(cost: Tensor, epsilon: float, iterations: int, target: float) -> tuple[Tensor, Tensor]:
    """What `solvers.solve_newton` returns, for a cost that `native_fits`.

    Differs from it by rounding only; a sample whose error comes out close to ``target`` may stop a cycle earlier or
    later. No sample depends on another, nor on the number of threads.
    """
    batch, r, s = cost.shape
    if r > s:  # the Newton system has one unknown for each row
        plan, rounds = solve_newton_native(cost.transpose(1, 2), epsilon, iterations, target)
        return plan.transpose(1, 2), rounds
    cost = cost.contiguous()
    plan = torch.empty_like(cost)
    rounds = torch.empty(batch, dtype=torch.int64, device="cpu")
    options = (float(epsilon), iterations, float(target), _CONSTANTS)
    call("alignmixup_newton", cost, plan, rounds, batch, r, s, *options, work=50 * cost.numel())
    return plan, rounds


def distances_native(a: Tensor, b: Tensor, partner: Tensor) -> Tensor:
    """Squared distances (B, r, s) between the positions of ``a[n]`` and of ``b[partner[n]]``; not differentiable.

    Maps ``a`` (B, C, r) and ``b`` (N, C, s), of any strides, must be such that `runs_natively`; a partner that is not
    in ``b`` is an IndexError.
    """
    batch, channels, r = a.shape
    s = b.shape[2]
    by_channel = a.stride(2) == b.stride(2) == 1
    if not by_channel and not a.stride(1) == b.stride(1) == 1:
        a, b = (features.clone(memory_format=torch.contiguous_format) for features in (a, b))
        return distances_native(a, b, partner)
    row = 1 if by_channel else 2
    cost = a.new_empty(batch, r, s)
    strides = (a.stride(0), a.stride(row), b.stride(0), b.stride(row), int(by_channel))
    assert b.shape[1] == channels, f"maps of {channels} and {b.shape[1]} channels"
    tensors = (a, b, dense(partner, torch.int64, batch), cost)
    call("alignmixup_distances", *tensors, batch, len(b), channels, r, s, *strides, work=2 * cost.numel() * channels)
    return cost
