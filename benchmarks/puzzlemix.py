"""Puzzle Mix's mask solver against exact minima, its moves against the published ones, and the time of both.

Exact minima come from one minimum cut for each mask (PyMaxflow). The random problems have smooth images and four kinds
of saliency, those of tests/functional/puzzlemix/test_solver.py; run it from the repository's root.

    python -m benchmarks.puzzlemix                       # 1,000 random problems for each grid, and times
    python -m benchmarks.puzzlemix --vectors VECTOR_DIR  # golden vectors of the published code besides
    python -m benchmarks.puzzlemix --problems 0 --threads 2 --batch 256

"cut, one by one": the minimum cut of the same energies on the CPU, a graph for each image, as the published code works.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.functional.puzzlemix.test_energy import problem
from tests.functional.puzzlemix.test_solver import KINDS, gap, least_energy, random_energy

from alignmixup.functional import puzzlemix, puzzlemix_mask, puzzlemix_transport
from alignmixup.functional.puzzlemix.energy import block_shares, puzzle_energy
from alignmixup.functional.puzzlemix.solver import solve_puzzle

GRIDS = (2, 4, 8, 16)


def random_gaps(count: int, labels: int) -> None:
    print(f"\n{count} random problems, {labels} labels: energy over its minimum")
    print(f"{'blocks':>6} {'mean':>9} {'largest':>9} {'minimum found':>14}")
    for blocks in GRIDS:
        found = []
        for seed, kind in enumerate(KINDS):
            energy = random_energy(kind, blocks, labels, count // len(KINDS), seed=1000 + seed)
            found.append(gap(energy, least_energy(energy)))
        gaps = torch.cat(found)
        print(f"{blocks:>6} {gaps.mean():>9.1e} {gaps.max():>9.1e} {(gaps < 1e-6).float().mean():>14.1%}", flush=True)


def golden(folder: Path) -> None:
    print("\ngolden vectors: energy over its minimum, of the published solver and of ours; plans and images that agree")
    print(f"{'file':<36} {'published':>10} {'ours':>10} {'higher':>7} {'plans':>6} {'images':>9}")
    for path in sorted(folder.glob("puzzlemix_*.npz")):
        with np.load(path) as loaded:
            arrays = dict(loaded)
        valid = torch.from_numpy(arrays["overflow"] == 0)
        inputs, blocks, options = problem(arrays)
        energy = puzzle_energy(*inputs, blocks, **options)
        ours = energy(solve_puzzle(puzzle_energy(*problem(arrays, torch.float32)[0], blocks, **options)))[valid]
        off, exact = (torch.from_numpy(arrays[key])[valid] for key in ("E_off", "E_exact"))
        mask = torch.from_numpy(arrays["t_mask"][0] if "t_mask" in arrays else arrays["mask"]).float()
        plans, agree = None, "-"
        if "plan" in arrays:
            share, weights, moves = (torch.from_numpy(arrays[key]) for key in ("t_unary", "t_mask", "plan"))
            cost_weight = float(arrays["t_eps"])
            both = [puzzlemix_transport(weights[i], share[i], cost_weight=cost_weight) for i in range(2)]
            plans = (both[0], both[1])
            published = torch.where(moves.sum(2) > 0, moves.float().argmax(2), -1)
            agree = f"{(torch.stack(both) == published).all(2).float().mean():.0%}"
        mixed = puzzlemix(torch.from_numpy(arrays["x"]), inputs[2], mask, plans)
        error = (mixed - torch.from_numpy(arrays["mixed"])).abs().max()
        print(
            f"{path.stem:<36} {(off / exact - 1).mean():>10.1e} {(ours / exact - 1).mean():>10.1e} "
            f"{int((ours > off + 1e-6).sum()):>3}/{len(ours):<3} {agree:>6} {error:>9.1e}"
        )


def milliseconds(function: Callable[[], Any], repeats: int) -> str:
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(taken):.1f} ({min(taken):.1f} - {max(taken):.1f})"


def times(batch: int, repeats: int) -> None:
    print(f"\nms: median (min - max), batch {batch}, 32 x 32 images, 3 labels")
    print(f"{'blocks':>6} {'mask':>24} {'cut, one by one':>24} {'transport':>24} {'compose':>24}")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, 32, 32, generator=generator)
    saliency = torch.rand(batch, 32, 32, generator=generator) ** 3
    perm = torch.randperm(batch, generator=generator)
    for blocks in GRIDS:
        mask = puzzlemix_mask(saliency, images, perm, 0.4, blocks)
        share = block_shares(saliency, blocks)
        weights, shares = torch.cat((mask, 1 - mask)), torch.cat((share, share[perm]))
        first, partner = puzzlemix_transport(weights, shares).chunk(2)
        plans = (first, partner)
        options = {"beta": 1.2, "gamma": 0.5, "eta": 0.2, "neighbourhood": 4, "labels": 3}
        energy = puzzle_energy(saliency, images, perm, 0.4, blocks, **options)
        cells = [
            milliseconds(lambda n=blocks: puzzlemix_mask(saliency, images, perm, 0.4, n), repeats),
            milliseconds(lambda e=energy: least_energy(e), repeats),
            milliseconds(lambda w=weights, s=shares: puzzlemix_transport(w, s), repeats),
            milliseconds(lambda m=mask, p=plans: puzzlemix(images, perm, m, p), repeats),
        ]
        print(f"{blocks:>6} " + " ".join(f"{cell:>24}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, help="folder of golden vectors")
    parser.add_argument("--problems", type=int, default=1000, help="random problems for each grid")
    parser.add_argument("--labels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s)")
    if arguments.vectors:
        golden(arguments.vectors)
    if arguments.problems:
        random_gaps(arguments.problems, arguments.labels)
    times(arguments.batch, arguments.repeats)


if __name__ == "__main__":
    main()
