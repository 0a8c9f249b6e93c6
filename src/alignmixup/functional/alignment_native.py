"""The aligned interpolation and its gradient, in C for the CPU."""

import torch
from torch import Tensor

from alignmixup.functional.native import call, dense, runs_natively

_Factors = tuple[Tensor, Tensor]  # alpha and beta of `_carry`, (B,) each


def interpolates_natively(maps: Tensor) -> bool:
    """Whether the functions below can take these maps (B, C, r): float32 on the CPU, dense, channels first or last."""
    return runs_natively(maps) and (maps.is_contiguous() or maps.mT.is_contiguous())


def interpolate_native(first: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, *, to_first: bool) -> Tensor:
    """Interpolate maps (B, C, r) that `interpolates_natively`, in their memory format; not differentiable.

    With ``to_first`` the partner's map is carried by the transposed assignment (B, r, r), else the first's by it.
    """
    itself = torch.arange(len(first), device="cpu")
    if to_first:
        return _carry(first, perm, assignment, itself, (1 - lam, lam), turn=True)
    return _carry(first, itself, assignment, perm, (lam, 1 - lam), turn=False)


def gradient_native(grad: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, *, to_first: bool) -> Tensor:
    """Gradient of `interpolate_native` by its maps, for a ``perm`` that holds each index once."""
    itself, back = torch.arange(len(grad), device="cpu"), perm.argsort()
    if to_first:
        return _carry(grad, back, assignment[back], itself, (1 - lam[back], lam), turn=False)
    return _carry(grad, itself, assignment, back, (lam, 1 - lam[back]), turn=True)


def is_permutation(perm: Tensor) -> bool:
    """Whether (B,) indices hold each of 0 to B - 1 once."""
    return torch.equal(perm.sort().values, torch.arange(len(perm), device="cpu"))


def _carry(maps: Tensor, map_of: Tensor, weights: Tensor, own_of: Tensor, factors: _Factors, *, turn: bool) -> Tensor:
    """``alpha maps[map_of] W + beta maps[own_of]``, with W or its transpose for each sample of the result."""
    batch, channels, r = maps.shape
    out = torch.empty_like(maps)
    assert maps.is_contiguous() or maps.mT.is_contiguous(), f"maps with strides {maps.stride()}"
    alpha, beta = (dense(factor.to(torch.float32), torch.float32, batch) for factor in factors)
    weights = dense(weights.to(torch.float32), torch.float32, batch, r, r)
    map_of, own_of = (dense(index, torch.int64, batch) for index in (map_of, own_of))
    shape = (batch, channels, r, int(maps.is_contiguous()), int(turn))
    call("alignmixup_carry", maps, map_of, weights, alpha, maps, own_of, beta, out, *shape, work=maps.numel() * r)
    return out
