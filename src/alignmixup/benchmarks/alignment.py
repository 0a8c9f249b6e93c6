"""Aligned interpolation, forward and backward, against other formulations; with its floor."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from alignmixup.benchmarks.formulations import formulations, marginal_error
from alignmixup.benchmarks.measure import interleave, peak_mib, rates, summary
from alignmixup.benchmarks.options import SHAPES
from alignmixup.benchmarks.report import Report
from alignmixup.near import near


def run(options: argparse.Namespace) -> Report:
    """Time every formulation on every shape."""
    parts = [*options.only, "broadcast"] if options.only else [""]
    for part in options.only or ():
        if not any(part in name for name in formulations()):
            raise ValueError(f"--only {part}: no formulation is called like that; {near(part, formulations())}")
    chosen = [name for name in formulations() if any(part in name for part in parts)]
    shapes = [parse_shape(text) for text in options.shapes]
    operations_rate, bytes_rate = rates(torch.device(options.device))
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        operations, moved = floor(shape)
        floor_ms = 1e3 * max(operations / operations_rate, moved / bytes_rate)
        rows += _rows(shape, chosen, options, floor_ms)
    notes = [
        f"floor: cost and interpolation alone, at {operations_rate / 1e9:.0f} GFLOP/s and {bytes_rate / 1e9:.1f} GB/s "
        "measured here",
        "extra MiB: peak of forward and backward without the mixed map and the two gradients that all must hold",
        "row error: L1, worst sample; 0 for a converged plan",
    ]
    settings = {"shapes": options.shapes, "scale": options.scale, "repeats": options.repeats}
    return Report("alignment", settings, rows, notes)


def _rows(
    shape: tuple[int, ...], chosen: list[str], options: argparse.Namespace, floor_ms: float
) -> list[dict[str, Any]]:
    features, perm, lam = make_inputs(shape, options.scale, options.device)
    leaf = features.clone().requires_grad_()
    timed = {"repeats": options.repeats, "device": options.device}
    forward = interleave({name: partial(formulations()[name], leaf, perm, lam) for name in chosen}, **timed)
    both = interleave({name: _both(name, leaf, perm, lam) for name in chosen}, **timed)
    # held by every formulation: the mixed map, its gradient and the gradient of the features
    held = 3 * features.numel() * 4 / 2**20
    rows = []
    for name in chosen:
        one, two = (summary(seconds[name], seconds["broadcast"]) for seconds in (forward, both))
        peak = peak_mib(_prepare, name, shape, options.scale, options.device, device=options.device)
        rows.append(
            {
                "features": "x".join(map(str, shape)),
                "formulation": name,
                "forward ms": one["ms"],
                "min": one["min_ms"],
                "max": one["max_ms"],
                "times faster": one["faster"],
                "forward+backward ms": two["ms"],
                "times faster (both)": two["faster"],
                "extra MiB": None if peak is None else max(peak - held, 0.0),
                "row error": marginal_error(name, features, perm),
                "over floor": one["ms"] / floor_ms,
            }
        )
    return rows


def parse_shape(text: str) -> tuple[int, ...]:
    """``"128x512x4x4"`` as four numbers; ValueError for anything else."""
    numbers = text.split("x")
    if len(numbers) != 4 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise ValueError(f"a shape is BxCxHxW, such as {SHAPES[0]}, got {text!r}")
    return tuple(int(number) for number in numbers)


def floor(shape: tuple[int, ...]) -> tuple[float, float]:
    """Operations and bytes that no formulation saves: two matrix products; features read once, mixture written once."""
    batch, channels, height, width = shape
    r = height * width
    return 2 * (2.0 * batch * channels * r * r), 2 * (4.0 * batch * channels * r)


def make_inputs(shape: tuple[int, ...], scale: float, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian features, partners and λ = 0.3, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    features = scale * torch.randn(shape, generator=generator)
    perm, lam = torch.randperm(shape[0], generator=generator), torch.full(shape[:1], 0.3)
    return features.to(device), perm.to(device), lam.to(device)


def _both(name: str, leaf: Tensor, perm: Tensor, lam: Tensor) -> Callable[[], Any]:
    mix = partial(formulations()[name], leaf, perm, lam)
    gradient = torch.ones_like(leaf)
    return lambda: torch.autograd.grad(mix(), leaf, gradient)


def _prepare(name: str, shape: tuple[int, ...], scale: float, device: str) -> Callable[[], Any]:
    small, perm, lam = make_inputs((2, 8, 2, 2), 1.0, device)
    _both(name, small.requires_grad_(), perm, lam)()  # loads libraries
    features, perm, lam = make_inputs(shape, scale, device)
    mix = partial(formulations()[name], features.requires_grad_(), perm, lam)
    # the gradient is made by the measured function, so that all it must hold is counted
    return lambda: torch.autograd.grad(mix(), features, torch.ones_like(features))
