"""Co-Mixup's masks against the golden vectors of the published solver: objective, and how much is mixed.

    python -m benchmarks.comixup VECTOR_DIR      # exit status 1 if a bound is broken

For each file the objective (mean and quantiles over random starts), its unary term (minus the saliency kept, and the
prior), inputs per output and the share of half/half blocks, of the published solver and of ours: "released" with the
published order of operations, one try and no safeguard, and with the defaults. "file start": the objective from the
start that the file gives. Leaving every image as it is ("no mixing") often has the lowest objective of all, so the last
two columns are bounds as well.

Bounds on the defaults: the objective of every stored labelling within 1e-6 of its size; our median objective at most
the published median and a tenth of it, our mean at most the published mean and two standard deviations of its starts;
inputs per output within 0.4 and half/half blocks within 0.08 of the published means.

Last lines: the processor time of the search for 100 images in groups of 20, least of ten runs; and that of as many
sub-problems one by one, by alpha-beta swap with a graph for each pair of labels (Python and PyMaxflow), as published.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tests.functional.comixup.test_potts import problems, swap
from torch import Tensor

from alignmixup.functional import comixup_masks, comixup_objective

CASES = {
    "released": {"variant": "as_released", "tries": 1, "safeguard": False},
    "default": {},  # the last, to which the bounds apply
}


def row(label: str, values: np.ndarray, unary: float, inputs: float, halves: float, start: float) -> str:
    numbers = (start, values.mean(), *np.quantile(values, (0.1, 0.5, 0.9)), unary)
    return f"  {label:<12}" + "".join(f"{value:10.3f}" for value in numbers) + f"{inputs:8.3f}{halves:8.3f}"


def mixing(masks: Tensor) -> tuple[float, float]:
    """Inputs of an output, and share of half/half blocks; masks (N, m, h, w, m)."""
    inputs = (masks.sum((2, 3)) > 0).sum(-1).double().mean()
    return float(inputs), float((masks.amax(-1) < 0.75).double().mean())


def objective_error(arrays: dict[str, Tensor], problem: tuple[Tensor, Tensor], options: dict[str, object]) -> float:
    """Largest relative error of the objective of the stored labellings."""
    size = len(arrays["alpha"])
    start = torch.nn.functional.one_hot(arrays["init_idx"].long(), size).double()
    identity = torch.eye(size).double()[:, None, None].expand_as(start)
    labellings = {"energy_off": arrays["z"], "energy_init": start, "energy_identity": identity}
    column = 3 if options["threshold"] == "soft" else 2
    errors = [
        abs(float(comixup_objective(masks, *problem, **options) / arrays[name][column]) - 1)
        for name, masks in labellings.items()
    ]
    return max(errors)


def compare(path: Path, starts: int) -> bool:
    """Print one file's table; whether it is within the bounds."""
    with np.load(path) as stored:
        arrays = {name: torch.from_numpy(np.asarray(stored[name])) for name in stored}
    saliency, distances = -arrays["cost_in"].double(), arrays["A_dist"].double()
    settings = {name: float(arrays[name]) for name in ("beta", "gamma", "eta", "tau", "omega")}
    threshold = "soft" if int(arrays["soft_threshold"]) else "hard"
    options = {**settings, "threshold": threshold, "prior": arrays["alpha"].double()}
    error = objective_error(arrays, (saliency, distances), options)
    column = 3 if threshold == "soft" else 2
    known = arrays["energy_multistart"].numpy()
    print(f"{path.stem}: objective within {error:.0e}; no mixing {float(arrays['energy_identity'][column]):.3f}")
    means = known.mean(0)
    print(row("published", known[:, column], means[4], means[11], means[12], float(arrays["energy_off"][column])))
    search = {"rounds": int(arrays["niter"]), "set_resolve": bool(arrays["set_resolve"])}
    repeated = [tensor.expand(starts, *tensor.shape) for tensor in (saliency, distances)]
    grouped = {**options, "prior": options["prior"].expand(starts, -1)}
    for label, case in CASES.items():
        start = arrays["init_idx"].long()
        given = comixup_masks(saliency, distances, **options, **search, **{**case, "start": start})
        masks = comixup_masks(*repeated, **grouped, **search, **case, generator=torch.Generator().manual_seed(0))
        values = comixup_objective(masks, *repeated, **grouped).numpy()
        unary = float(comixup_objective(masks, *repeated, **{**grouped, "beta": 0.0, "gamma": 0.0}).mean())
        inputs, halves = mixing(masks)
        first = float(comixup_objective(given, saliency, distances, **options))
        print(row(label, values, unary, inputs, halves, first), flush=True)
    reference = known[:, column]
    middle = np.median(reference)
    return (
        error <= 1e-6
        and np.median(values) <= middle + 0.1 * abs(middle)
        and values.mean() <= reference.mean() + 2 * reference.std() + 1e-6
        and abs(inputs - means[11]) < 0.4
        and abs(halves - means[12]) < 0.08
    )


def search_seconds() -> float:
    generator = torch.Generator().manual_seed(0)
    saliency, distances = (torch.rand(5, 20, *shape, generator=generator) for shape in ((4, 4), (20,)))
    taken = []
    for _ in range(10):
        begin = time.process_time()
        comixup_masks(saliency, distances, generator=generator)
        taken.append(time.process_time() - begin)
    return min(taken)


def swap_seconds() -> float:
    """One try: 4 rounds of 20 outputs of 5 groups."""
    prices, similarity = problems(4 * 20 * 5, 20, 4, 4)
    begin = time.process_time()
    for price, alike in zip(prices.numpy(), similarity.numpy(), strict=True):
        swap(price, alike, 0.32 / 16, 4, 4)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, help="folder with comixup_*.npz")
    parser.add_argument("--starts", type=int, default=64, help="random starts of a file (default: 64)")
    options = parser.parse_args()
    paths = sorted(options.vectors.glob("comixup_*.npz"))
    if not paths:
        parser.error("no comixup_*.npz in that folder")
    names = ("file start", "mean", "10 %", "median", "90 %", "unary")
    print(f"  {'':<12}" + "".join(f"{name:>10}" for name in names) + f"{'inputs':>8}{'halves':>8}")
    bad = []
    for path in paths:
        if not compare(path, options.starts):
            print("  BOUND BROKEN")
            bad.append(path.stem)
    print(f"{len(paths) - len(bad)} of {len(paths)} files within the bounds")
    print(f"search, two tries: {1e3 * search_seconds():.0f} ms")
    print(f"one by one, one try: {1e3 * swap_seconds():.0f} ms")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
