"""align_mix against the broadcast formulation, side by side in one run: forward (and backward) time, peak memory.

The baseline is the published formulation: differences of all pairs of positions as a (B, r, r, C) temporary, a
Sinkhorn loop of up to 100 rounds that stops on a batch mean read on the host, recorded by autograd.

    python benchmarks/alignment.py                # the three shapes of the README
    python benchmarks/alignment.py --repeats 9
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.functional import align_mix

SHAPES = [(128, 512, 4, 4), (64, 2048, 7, 7), (256, 512, 8, 8)]


def broadcast_align_mix(features: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """The broadcast formulation with the published stop."""
    a = features.flatten(2)
    b = a[perm]
    epsilon, r = 0.1, a.shape[2]
    cost = (a[:, :, :, None] - b[:, :, None, :]).square().sum(1)
    u = v = torch.zeros(cost.shape[:2])
    log_mass = math.log(1 / r + 1e-8)
    for _ in range(100):
        previous = u
        u = epsilon * (log_mass - torch.logsumexp((-cost + u[:, :, None] + v[:, None]) / epsilon, 2)) + u
        v = epsilon * (log_mass - torch.logsumexp((-cost + u[:, :, None] + v[:, None]) / epsilon, 1)) + v
        if (u - previous).abs().sum(1).mean().item() < 0.1:
            break
    plan = ((-cost + u[:, :, None] + v[:, None]) / epsilon).exp().detach()
    aligned = b @ (r * plan).mT
    return (lam[:, None, None] * a + (1 - lam[:, None, None]) * aligned).view_as(features)


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "broadcast": broadcast_align_mix,
    "align_mix": align_mix,
    "align_mix plain": lambda f, p, w: align_mix(f, p, w, solver="plain"),
}


def inputs(shape: tuple[int, ...], scale: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = scale * torch.randn(shape, generator=generator)
    return (
        features.requires_grad_(),
        torch.randperm(shape[0], generator=generator),
        torch.full(shape[:1], 0.3),
    )


def seconds(function: Callable[..., Tensor], arguments: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    start = time.perf_counter()
    mixed = function(*arguments)
    middle = time.perf_counter()
    mixed.sum().backward()
    return middle - start, time.perf_counter() - middle


def extra_memory_mib(name: str, shape: tuple[int, ...], scale: float) -> float:
    """Peak memory of a forward and a backward above the inputs and a warm process, in a fresh process (Linux)."""
    call = [sys.executable, __file__, "--memory", name, "--scale", str(scale), "--shape", *map(str, shape)]
    return float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)


def print_peak(name: str, shape: tuple[int, ...], scale: float) -> None:
    """Run once in this process and print how far its resident memory rose, in MiB."""
    seconds(METHODS[name], inputs((2, 8, 2, 2), 1.0))
    arguments = inputs(shape, scale)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present size
    before = resident("VmRSS")
    seconds(METHODS[name], arguments)
    print(resident("VmHWM") - before)


def resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repetitions")
    parser.add_argument("--scale", type=float, default=1.0, help="standard deviation of the features")
    parser.add_argument("--memory", choices=METHODS, help="only print the peak memory of one method")
    parser.add_argument("--shape", type=int, nargs=4, default=SHAPES[0], help="with --memory: B C h w")
    options = parser.parse_args()
    if options.memory:
        print_peak(options.memory, tuple(options.shape), options.scale)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, features of scale {options.scale}")
    print(
        f"{'shape':20} {'method':16} {'forward ms (min-max)':>30} {'x':>7} "
        f"{'backward ms':>12} {'x':>6} {'extra MiB':>10}"
    )
    for shape in SHAPES:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
        for repeat in range(options.repeats + 1):
            for name, function in METHODS.items():
                taken = seconds(function, inputs(shape, options.scale))
                if repeat:  # the first round warms up
                    times[name].append(taken)
        base = [statistics.median(t[k] for t in times["broadcast"]) for k in (0, 1)]
        for name in METHODS:
            forward = [1e3 * t[0] for t in times[name]]
            backward = statistics.median(1e3 * t[1] for t in times[name])
            middle = statistics.median(forward)
            memory = extra_memory_mib(name, shape, options.scale)
            spread = f"{middle:9.1f} ({min(forward):.1f}-{max(forward):.1f})"
            print(
                f"{shape!s:20} {name:16} {spread:>30} {1e3 * base[0] / middle:7.1f} {backward:12.1f} "
                f"{1e3 * base[1] / backward:6.1f} {memory:10.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
