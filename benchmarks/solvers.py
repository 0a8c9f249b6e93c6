"""Solvers of the transport problem side by side: time to an L1 marginal error of 1e-3, and what is left of it.

Every solver meets the same costs in the same process, turn by turn. A solver is stopped when every sample of the batch
is at 1e-3, or after a number of rounds, or after some seconds.

    python benchmarks/solvers.py                       # three synthetic sets, up to 20 minutes on one core
    python benchmarks/solvers.py --sets relu49 --batch 64 --repeats 9 --threads 2
    python benchmarks/solvers.py --vectors VECTOR_DIR  # features of the golden files besides
    python benchmarks/solvers.py --others             # mdot-tnt and POT besides: pip install mdot-tnt
    python benchmarks/solvers.py --quick               # the package's solver against 100 published rounds only
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignmixup.functional import cost_matrix, sinkhorn
from alignmixup.functional.transport import solvers as solver_module

EPSILON, TARGET = 0.1, 1e-3
Rounds = Iterator[Tensor]  # per-sample marginal error after each round
SETS = {  # channels, positions, partner's positions, batch, scale, rectified
    "gauss16": (512, 16, 16, 128, 1.0, False),
    "relu49": (2048, 49, 49, 64, 1.0, True),
    "gauss64": (512, 64, 64, 256, 1.0, False),
    "gauss16x3": (512, 16, 16, 128, 3.0, False),
    "unequal": (16, 49, 16, 512, 10.0, False),  # few channels, large scale, unequal maps: as hard as it gets
}


def potentials(cost: Tensor, omega: float = 1.0, annealing: float = 0.0, per_stage: int = 10) -> Rounds:
    """Log-domain rounds from zero potentials; over-relaxed by omega; epsilon lowered by a factor every few rounds."""
    batch, r, s = cost.shape
    epsilon = max(EPSILON, cost.mean().item() / 5) if annealing else EPSILON
    u, v = cost.new_zeros(batch, r, 1), cost.new_zeros(batch, 1, s)
    step = 0
    while True:
        row = -epsilon * torch.logsumexp((v - cost) / epsilon, 2, keepdim=True) - epsilon * math.log(r)
        error = (((u - row) / epsilon).exp() - 1).abs().mean((1, 2))
        u = u + omega * (row - u)
        column = -epsilon * torch.logsumexp((u - cost) / epsilon, 1, keepdim=True) - epsilon * math.log(s)
        error = error + (((v - column) / epsilon).exp() - 1).abs().mean((1, 2)) * (omega != 1)
        v = v + omega * (column - v)
        step += 1
        yield error if epsilon == EPSILON else torch.full_like(error, torch.inf)
        if step % per_stage == 0 and epsilon > EPSILON:
            epsilon = max(EPSILON, epsilon * annealing)


def kernel_rounds(cost: Tensor, per_stage: int = 20) -> Rounds:
    """Annealing with rounds on exp(-reduced cost / epsilon), potentials absorbed after each stage; no Newton step."""
    state = solver_module._initial_state(cost, EPSILON, annealed=True)
    while True:
        swept = solver_module._sweep(state, per_stage)
        error = (swept.row_mass - 1).abs().mean((1, 2))
        reduced = state.reduced - (swept.row_shift + swept.column_shift)
        final = bool((state.epsilon <= EPSILON).all())
        lower = (state.epsilon * solver_module.ANNEALING).clamp(min=EPSILON)
        state = solver_module._State(state.places, reduced, lower)
        for _ in range(per_stage):
            yield error if final else torch.full_like(error, torch.inf)


def driven(rounds: Callable[[Tensor], Rounds], cap: int, limit: float) -> Callable[[Tensor], tuple[int, Tensor]]:
    def run(cost: Tensor) -> tuple[int, Tensor]:
        start, error = time.perf_counter(), torch.full((len(cost),), torch.inf)
        for count, now in enumerate(rounds(cost), 1):
            error = now
            if count >= cap or bool((error <= TARGET).all()) or time.perf_counter() - start > limit:
                return count, error
        raise AssertionError("rounds never end")

    return run


def package(tolerance: float | None, **constants: float) -> Callable[[Tensor], tuple[int, Tensor]]:
    def run(cost: Tensor) -> tuple[int, Tensor]:
        before = {name: getattr(solver_module, name) for name in constants}
        for name, value in constants.items():
            setattr(solver_module, name, value)
        try:
            result = sinkhorn(cost, EPSILON, 500 if constants else 100, tolerance)
        finally:
            for name, value in before.items():
                setattr(solver_module, name, value)
        return int(result.iterations.max()), result.marginal_error

    return run


def mdot() -> Callable[[Tensor], tuple[int, Tensor]]:
    """mdot-tnt's batched solver; costs scaled to [0, 1], as it recommends, and its temperature with them."""
    from mdot_tnt import solve_OT_batched

    def run(cost: Tensor) -> tuple[int, Tensor]:
        batch, r, s = cost.shape
        scale = cost.max()
        marginals = cost.new_full((batch, r), 1 / r), cost.new_full((batch, s), 1 / s)
        temperature = float(scale) / EPSILON
        plan, logs = solve_OT_batched(*marginals, cost / scale, temperature, return_plan=True, round=False, log=True)
        return int(logs["k_total"].max() if isinstance(logs["k_total"], Tensor) else logs["k_total"]), _error(plan)

    return run


def pot(tolerance: float, limit: int = 5_000) -> Callable[[Tensor], tuple[int, Tensor]]:
    """POT's batched Sinkhorn iterations in the log domain."""
    from ot.batch import solve_batch

    def run(cost: Tensor) -> tuple[int, Tensor]:
        result = solve_batch(cost, EPSILON, max_iter=limit, tol=tolerance, method="log_sinkhorn", grad="detach")
        return 0, _error(result.plan)

    return run


def _error(plan: Tensor) -> Tensor:
    """L1 distance of both marginals of plans (B, r, s) from uniform ones; not a number counts as infinite."""
    _, r, s = plan.shape
    error = (plan.sum(2) - 1 / r).abs().sum(1) + (plan.sum(1) - 1 / s).abs().sum(1)
    return error.nan_to_num(nan=torch.inf)


def solvers(limit: float, quick: bool) -> dict[str, Callable[[Tensor], tuple[int, Tensor]]]:
    chosen = {
        "plain, 100 rounds": driven(potentials, 100, limit),
        "package, to 1e-3": package(TARGET),
        "package, default": package(None),
    }
    if not quick:
        chosen |= {
            "plain": driven(potentials, 20_000, limit),
            "over-relaxed 1.5": driven(lambda cost: potentials(cost, 1.5), 20_000, limit),
            "over-relaxed 1.8": driven(lambda cost: potentials(cost, 1.8), 20_000, limit),
            "annealed": driven(lambda cost: potentials(cost, annealing=0.5), 20_000, limit),
            "annealed, kernel domain": driven(kernel_rounds, 20_000, limit),
            "Newton without annealing": package(TARGET, START=0.0),
            "Newton, 1 round between": package(TARGET, SWEEPS=1),
            "Newton, 8 rounds between": package(TARGET, SWEEPS=8),
            "Newton, epsilon x 0.1": package(TARGET, ANNEALING=0.1),
            "Newton, steps to 100": package(TARGET, RADIUS=100.0),
            "Newton, no noise term": package(TARGET, NOISE=1e-6),
        }
    return chosen


def synthetic(name: str, batch: int | None) -> Tensor:
    channels, positions, others, size, scale, rectified = SETS[name]
    maps = torch.randn(batch or size, channels, positions, generator=torch.Generator().manual_seed(0)) * scale
    maps = maps.relu() if rectified else maps
    return cost_matrix(maps, maps.roll(1, 0)[:, :, :others])


def golden(path: Path) -> Tensor:
    with np.load(path) as arrays:
        maps = torch.from_numpy(arrays["feat"]).flatten(2)
        return cost_matrix(maps, maps[torch.from_numpy(arrays["indices"]).long()])


def compare(title: str, cost: Tensor, arguments: argparse.Namespace) -> None:
    print(f"\n{title}: cost {tuple(cost.shape)}, mean {cost.mean():.0f}")
    print(f"{'solver':<26} {'ms: median':>11} {'(min - max)':>19} {'rounds':>7} {'at 1e-3':>8} {'worst error':>12}")
    chosen = solvers(arguments.limit, arguments.quick or arguments.others)
    if arguments.others:
        chosen |= {"mdot-tnt": mdot(), "POT, tolerance 1e-4": pot(1e-4), "POT, tolerance 1e-5": pot(1e-5)}
    times: dict[str, list[float]] = {name: [] for name in chosen}
    outcome = {}
    for _ in range(arguments.repeats):
        for name, solve in chosen.items():
            start = time.perf_counter()
            outcome[name] = solve(cost)
            times[name].append(1000 * (time.perf_counter() - start))
    for name, (rounds, error) in outcome.items():
        spread = f"({min(times[name]):.1f} - {max(times[name]):.1f})"
        done = f"{int((error <= TARGET).sum())}/{len(error)}"
        median = statistics.median(times[name])
        print(f"{name:<26} {median:>11.1f} {spread:>19} {rounds:>7} {done:>8} {error.max():>12.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=["gauss16", "relu49", "gauss64"])
    parser.add_argument("--batch", type=int, help="batch size in place of the set's own")
    parser.add_argument("--vectors", type=Path, help="folder of golden vectors")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for one solver on one batch")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--others", action="store_true", help="mdot-tnt and POT beside the package's solver")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), float32, {arguments.repeats} repeats, turn by turn"
    )
    for name in arguments.sets:
        compare(name, synthetic(name, arguments.batch), arguments)
    for path in sorted(arguments.vectors.glob("alignmixup_*.npz")) if arguments.vectors else ():
        compare(path.stem, golden(path), arguments)


if __name__ == "__main__":
    main()
