"""AlignMixup's transport against the golden vectors of the published implementation and of its exact optimum.

    python benchmarks/golden.py VECTOR_DIR      # exit status 1 if a bound is broken

Largest errors of each file. Parity: the published loop, which must agree within 2e-3 + 5 * stat_noise_f64 and take the
same number of rounds. Converged: the default solver against the float64 optimum, which must be within
2 * stat_maxdiff_R_f32_long + 2e-3 and have a marginal error of at most 1e-3. Costs are compared with float64
differences, relative to the largest entry; features relative to the largest entry of the map.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignmixup.functional import align, assignment_matrix, cost_matrix, sinkhorn


def largest(difference: Tensor) -> Tensor:
    return difference.abs().flatten(1).amax(1)


def feature_errors(arrays: dict[str, Tensor], assignment: Tensor, kind: str) -> tuple[float, float]:
    a = arrays["feat"].flatten(2)
    b = a[arrays["indices"].long()]
    lam, scale = float(arrays["lam"]), float(a.abs().max())
    first, partner = align(a, b, assignment)
    aligned = [largest(got - arrays[f"aligned{i}_{kind}"].flatten(2)) for i, got in enumerate((first, partner))]
    mixed = [lam * a + (1 - lam) * first, lam * partner + (1 - lam) * b]
    if kind == "off":
        expected = [arrays["mix0_off"].flatten(2), arrays["mix1_off"].flatten(2)]
    else:
        expected = [
            lam * a + (1 - lam) * arrays["aligned0_conv"].flatten(2),
            lam * arrays["aligned1_conv"].flatten(2) + (1 - lam) * b,
        ]
    mix = [largest(got - want) for got, want in zip(mixed, expected, strict=True)]
    return float(torch.stack(aligned).max()) / scale, float(torch.stack(mix).max()) / scale


def parity(arrays: dict[str, Tensor], cost: Tensor) -> tuple[str, bool]:
    result = sinkhorn(cost, float(arrays["eps"]), int(arrays["max_iter"]), solver="plain", batch_stop=0.1)
    assignment = assignment_matrix(result.plan)
    error, bound = largest(assignment - arrays["R_off"]), 2e-3 + 5 * arrays["stat_noise_f64"]
    rounds, expected = int(result.iterations[0]), int(arrays["n_iter_off"])
    good = bool((error <= bound).all()) and rounds == expected
    aligned, mixed = feature_errors(arrays, assignment, "off")
    worst = int((error / bound).argmax())
    text = f"{error[worst]:8.1e} {bound[worst]:8.1e} {rounds:4d}/{expected:<4d} {aligned:8.1e} {mixed:8.1e}"
    return text, good


def converged(arrays: dict[str, Tensor], cost: Tensor) -> tuple[str, bool]:
    result = sinkhorn(cost, float(arrays["eps"]))
    assignment = assignment_matrix(result.plan)
    error = largest(assignment - arrays["R_conv"])
    bound = 2e-3 + 2 * arrays["stat_maxdiff_R_f32_long"]
    good = bool((error <= bound).all() and (result.marginal_error <= 1e-3).all())
    spent = (result.plan.double() * cost.double()).sum((1, 2))
    gap = (spent - arrays["stat_cost_conv"]).abs().max()
    aligned, mixed = feature_errors(arrays, assignment, "conv")
    worst = int((error / bound).argmax())
    text = (
        f"{result.marginal_error.max():8.1e} {error[worst]:8.1e} {bound[worst]:8.1e} {gap:8.1e} "
        f"{int(result.iterations.max()):6d} {aligned:8.1e} {mixed:8.1e}"
    )
    return text, good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="folder with alignmixup_*.npz")
    paths = sorted(parser.parse_args().vectors.glob("alignmixup_*.npz"))
    if not paths:
        parser.error("no alignmixup_*.npz in that folder")
    print(f"{'':<26}{'':>9} | {'parity with the published loop':^43} | {'converged, against the float64 optimum':^59}")
    print(
        f"{'file':<26}{'cost':>9} | {'R':>8} {'bound':>8} {'rounds':>9} {'aligned':>8} {'mixed':>8} | "
        f"{'marginal':>8} {'R':>8} {'bound':>8} {'cost gap':>8} {'rounds':>6} {'aligned':>8} {'mixed':>8}"
    )
    bad = []
    for path in paths:
        with np.load(path) as stored:
            arrays = {name: torch.from_numpy(np.asarray(stored[name])) for name in stored}
        a = arrays["feat"].flatten(2)
        b = a[arrays["indices"].long()]
        cost = cost_matrix(a, b)
        exact = torch.stack(
            [(x[:, :, None] - y[:, None]).square().sum(0) for x, y in zip(a.double(), b.double(), strict=True)]
        )
        cost_error = float((cost - exact).abs().max() / exact.max())
        (left, left_good), (right, right_good) = parity(arrays, cost), converged(arrays, cost)
        mark = "" if left_good and right_good else "  BOUND BROKEN"
        bad += [path.stem] if mark else []
        print(f"{path.stem:<26}{cost_error:9.1e} | {left} | {right}{mark}", flush=True)
    print(f"{len(paths) - len(bad)} of {len(paths)} files within both bounds")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
