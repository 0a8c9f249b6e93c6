"""How the cost of the aligned interpolation grows with positions, batch and channels."""

import argparse
from functools import partial
from typing import Any

import torch

from alignmixup.benchmarks.alignment import floor, make_inputs
from alignmixup.benchmarks.measure import interleave, rates
from alignmixup.benchmarks.report import Report
from alignmixup.functional import align_mix, cost_matrix, sinkhorn

POSITIONS = (2, 3, 4, 5, 7, 8, 10, 14)  # side of the map
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
CHANNELS = (64, 128, 256, 512, 1024, 2048)


def run(options: argparse.Namespace) -> Report:
    """Vary one quantity at a time about (128, 512, 4, 4), and (64, 512, ., .) for the positions."""
    device = torch.device(options.device)
    operations_rate, bytes_rate = rates(device)
    rows: list[dict[str, Any]] = []
    for varied, shape in shapes(options.largest):
        features, perm, lam = make_inputs(shape, 1.0, device)
        first = features.flatten(2)
        cost = cost_matrix(first, first[perm])
        taken = interleave(
            {"all": partial(align_mix, features, perm, lam), "plan": partial(sinkhorn, cost)},
            repeats=options.repeats,
            device=device,
        )
        operations, moved = floor(shape)
        floor_ms = 1e3 * max(operations / operations_rate, moved / bytes_rate)
        best = 1e3 * sorted(taken["all"])[len(taken["all"]) // 2]
        rows.append(
            {
                "varied": varied,
                "features": "x".join(map(str, shape)),
                "positions": shape[2] * shape[3],
                "ms": best,
                "min": 1e3 * min(taken["all"]),
                "max": 1e3 * max(taken["all"]),
                "of it plan ms": 1e3 * sorted(taken["plan"])[len(taken["plan"]) // 2],
                "us per sample": 1e3 * best / shape[0],
                "floor ms": floor_ms,
                "over floor": best / floor_ms,
            }
        )
    notes = ["floor: two matrix products, or reading the features and writing the mixture once, whichever is longer"]
    return Report("scaling", {"repeats": options.repeats, "largest": options.largest}, rows, notes)


def shapes(largest: int) -> list[tuple[str, tuple[int, int, int, int]]]:
    """What is varied, and the shape, of every measured case; ValueError where ``largest`` leaves none."""
    every = [
        *(("positions", (64, 512, side, side)) for side in POSITIONS),
        *(("batch", (batch, 512, 4, 4)) for batch in BATCHES),
        *(("channels", (128, channels, 4, 4)) for channels in CHANNELS),
    ]
    kept = [(varied, shape) for varied, shape in every if shape[0] * shape[1] * shape[2] * shape[3] <= largest]
    if not kept:
        raise ValueError(f"--largest {largest} leaves no shape; the smallest holds {64 * 512 * 4} features")
    return kept
