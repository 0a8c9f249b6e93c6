"""Exact alignment of large maps against alignment by cells: time of a pair, and what its plan costs.

    python benchmarks/coarse_to_fine.py [--sides 14 28 56] [--repeats 3] [--exact 784]

Maps are Gaussian noise, and the same noise smoothed over 5 x 5 positions, of 64 channels, mean square 1/4. The cost is
<P, M> over all positions: without alignment, by cells, exactly. Times take turns, one thread; the least is shown. Maps
of more positions than ``--exact`` are not aligned exactly: 3,136 positions take 64 times as long as 784.
"""

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional import align_mix, cost_matrix, sinkhorn
from alignmixup.functional.cells import cells_of


def maps(side: int, *, smooth: bool) -> Tensor:
    noise = torch.randn(2, 64, side + 4, side + 4, generator=torch.Generator().manual_seed(side))
    noise = F.avg_pool2d(noise, 5, 1) if smooth else noise[:, :, 2:-2, 2:-2]
    return noise / noise.std() / 2


def transport_cost(pair: Tensor, max_positions: int | None) -> float:
    cells = cells_of(pair.shape[2:], max_positions)
    first, partner = cells.split(pair[cells.covered(pair.shape[2:])])[:, None].unbind(0)
    cost = cost_matrix(first, partner) / cells.volume
    return float((sinkhorn(cost).plan * cost).sum())


def seconds(pair: Tensor, max_positions: int | None) -> float:
    start = time.perf_counter()
    align_mix(pair, torch.tensor([1, 0]), torch.full((2,), 0.5), max_positions=max_positions)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[14, 28, 56])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--exact", type=int, default=784)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| positions | features | bound | cells | pair, ms | unaligned | <P, M> |\n|---|---|---|---|---|---|---|")
    for side in options.sides:
        for smooth in (False, True):
            pair = maps(side, smooth=smooth)
            bounds = [49, 256, *([None] if side**2 <= options.exact else [])]
            taken: dict[int | None, list[float]] = {bound: [] for bound in bounds}
            for _ in range(options.repeats):
                for bound in bounds:
                    taken[bound].append(seconds(pair, bound))
            unaligned = float((pair[0] - pair[1]).square().sum(0).mean())
            for bound in bounds:
                cells = cells_of((side, side), bound).number
                row = (side**2, "smooth" if smooth else "noise", bound, cells, f"{1000 * min(taken[bound]):.1f}")
                print(
                    "|",
                    *(f"{value} |" for value in row),
                    f"{unaligned:.2f} | {transport_cost(pair, bound):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
