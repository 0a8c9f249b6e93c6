"""Ways to compute the aligned interpolation, to be timed against `alignmixup.functional.align_mix`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from alignmixup.benchmarks.report import has
from alignmixup.functional import align_mix, assignment_matrix, cost_matrix

EPSILON = 0.1
Formulation = Callable[[Tensor, Tensor, Tensor], Tensor]


def formulations() -> dict[str, Formulation]:
    """By name, the naive one first; those of other libraries only where they are installed."""
    found: dict[str, Formulation] = {"broadcast": broadcast, "align_mix": align_mix, "align_mix, plain loop": plain}
    if has("ot"):
        found["POT solve_batch"] = pot
    if has("geomloss"):
        found["geomloss"] = geomloss
    return found


def broadcast(features: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """The naive formulation, as the published code works.

    All pairwise differences as one (B, C, r, r) temporary, recorded by autograd; a log-domain loop that stops on a
    batch mean read on the host in every round.
    """
    a = features.flatten(2)
    b = a[perm]
    cost = (a[:, :, :, None] - b[:, :, None, :]).square().sum(1)
    log_mass = math.log(1 / cost.shape[1] + 1e-8)
    u = v = torch.zeros(cost.shape[:2], device=cost.device)
    for _ in range(100):
        before = u
        u = EPSILON * (log_mass - torch.logsumexp((-cost + u[:, :, None] + v[:, None]) / EPSILON, 2)) + u
        v = EPSILON * (log_mass - torch.logsumexp((-cost + u[:, :, None] + v[:, None]) / EPSILON, 1)) + v
        if (u - before).abs().sum(1).mean().item() < 0.1:
            break
    plan = ((-cost + u[:, :, None] + v[:, None]) / EPSILON).exp().detach()
    return _interpolate(a, b, lam, plan).view_as(features)


def plain(features: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Our cost and interpolation around a plain batched loop of 100 rounds in the log domain."""
    return align_mix(features, perm, lam, solver="plain")


def pot(features: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Our cost, POT's batched log-domain Sinkhorn for 100 rounds, as the published loop has."""
    import ot

    a = features.flatten(2)
    b = a[perm]
    with torch.no_grad():
        cost = cost_matrix(a, b)
        plan = ot.solve_batch(cost, reg=EPSILON, max_iter=100, tol=1e-5, method="log_sinkhorn", grad="detach").plan
    return _interpolate(a, b, lam, plan).view_as(features)


def geomloss(features: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Geomloss' annealed Sinkhorn (scaling 0.9) on the positions as points; its cost is half the squared distance."""
    from geomloss import SamplesLoss

    a = features.flatten(2)
    b = a[perm]
    with torch.no_grad():
        solve = SamplesLoss(
            "sinkhorn",
            p=2,
            blur=math.sqrt(EPSILON / 2),
            scaling=0.9,
            debias=False,
            potentials=True,
            backend="tensorized",
        )
        f, g = solve(a.mT.contiguous(), b.mT.contiguous())
        exponent = (2 * f[:, :, None] + 2 * g[:, None] - cost_matrix(a, b)) / EPSILON
        plan = exponent.exp() / (exponent.shape[1] * exponent.shape[2])
    return _interpolate(a, b, lam, plan).view_as(features)


def _interpolate(a: Tensor, b: Tensor, lam: Tensor, plan: Tensor) -> Tensor:
    aligned = b @ assignment_matrix(plan).mT
    return lam[:, None, None] * a + (1 - lam[:, None, None]) * aligned


def marginal_error(formulation: str, features: Tensor, perm: Tensor) -> float:
    """L1 error of the row sums of the assignment that a formulation uses (they should be 1), worst of the batch.

    A channel of ones is appended: it adds nothing to any distance, and after alignment it holds the row sums.
    """
    probed = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    aligned = formulations()[formulation](probed, perm, torch.zeros(len(features), device=features.device))
    return (aligned[:, -1].flatten(1) - 1).abs().mean(1).max().item()
