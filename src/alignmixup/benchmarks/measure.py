"""Time and memory of functions side by side."""

import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import conv2d


def interleave(
    cases: Mapping[str, Callable[[], Any]], *, repeats: int, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of every repetition of every case; cases take turns, so that a busy machine disturbs all alike.

    A first round warms up and is not counted; each starts with another case; the ``device`` is waited for.
    ValueError where ``repeats`` is less than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be >= 1, got {repeats}")
    names = list(cases)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            synchronize(device)
            start = time.perf_counter()
            cases[name]()
            synchronize(device)
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def synchronize(device: torch.device | str) -> None:
    """Wait until the device has finished."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def summary(seconds: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Median and range in milliseconds, and how many times faster than ``base``, round by round."""
    speedups = [other / own for own, other in zip(seconds, base, strict=True)]
    return {
        "ms": 1e3 * statistics.median(seconds),
        "min_ms": 1e3 * min(seconds),
        "max_ms": 1e3 * max(seconds),
        "faster": statistics.median(speedups),
        "min_faster": min(speedups),
        "max_faster": max(speedups),
    }


def against_first(
    seconds: Mapping[str, list[float]], *, images: int, per: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Images per second, milliseconds of a unit of ``per`` (heading -> units), and how much faster the first is."""
    ours = next(iter(seconds.values()))
    found = {}
    for case, taken in seconds.items():
        ratio, middle = summary(ours, taken), statistics.median(taken)
        found[case] = {
            "images/s": images / middle,
            **{heading: 1e3 * middle / units for heading, units in per.items()},
            "ours is faster": ratio["faster"],
            "min": ratio["min_faster"],
            "max": ratio["max_faster"],
        }
    return found


def peak_mib(prepare: Callable[..., Callable[[], Any]], *arguments: Any, device: str = "cpu") -> float | None:
    """Peak memory of a function above what stood before its call, in MiB.

    On the CPU it is resident memory, taken in a fresh process (Linux; elsewhere None), so that nothing freed earlier is
    used again unseen; on CUDA it is what torch's allocator handed out. ``prepare``, importable, makes the inputs of the
    arguments, which are sent to another process, and returns the function to measure.
    """
    if device.startswith("cuda"):
        function = prepare(*arguments)
        torch.cuda.synchronize()
        gc.collect()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if device != "cpu" or sys.platform != "linux":
        return None
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_resident_peak, (prepare, arguments, torch.get_num_threads()))


def rates(device: torch.device | str = "cpu", *, dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    """What the machine can do: operations per second, and bytes per second of a large copy.

    Operations are those of a large matrix product or of a convolution, in either memory layout, whichever is faster:
    each of them is the slow one on some machine, and a floor that a network undercuts is none. float32 is what the
    backends make of it (TF32 where they are set so).
    """
    side, images, repeats = (1024, 32, 5) if torch.device(device).type == "cpu" else (8192, 1024, 5)
    matrix = torch.randn(side, side, device=device).to(dtype)
    maps = torch.randn(images, 128, 16, 16, device=device).to(dtype)
    weight = torch.randn(128, 128, 3, 3, device=device).to(dtype)
    work: dict[str, tuple[float, Callable[[], Any]]] = {"product": (2.0 * side**3, lambda: matrix @ matrix)}
    for layout in (torch.contiguous_format, torch.channels_last):
        operands = maps.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        operations = 2.0 * 9 * 128 * maps.numel()
        work[f"convolution, {layout}"] = operations, partial(conv2d, *operands, padding=1)
    block = torch.randn(2**24 if torch.device(device).type == "cpu" else 2**28, device=device)
    target = torch.empty_like(block)
    cases = {name: run for name, (_, run) in work.items()}
    taken = interleave({**cases, "copy": lambda: target.copy_(block)}, repeats=repeats, device=device)
    operations_rate = max(operations / min(taken[name]) for name, (operations, _) in work.items())
    return operations_rate, 2 * 4 * block.numel() / min(taken["copy"])


def _resident_peak(prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    function = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak to the present size
    before = _status("VmRSS")
    function()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
