"""Mixing one batch beside timm's and torchvision's ways, images and labels."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from alignmixup.benchmarks.report import Report

SHAPES = ((128, 3, 32, 32), (32, 3, 224, 224))


def run(options: argparse.Namespace) -> Report:
    """Time each method and its rivals on one batch of each shape; only timm writes over it."""
    import torch

    from alignmixup.benchmarks.measure import interleave

    if options.classes < 2 or options.pairs < 1:
        raise ValueError(f"--classes must be >= 2 and --pairs >= 1, got {options.classes} and {options.pairs}")
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        x = torch.randn(shape, device=options.device)
        y = torch.randint(options.classes, shape[:1], device=options.device)
        for method in ("mixup", "cutmix"):
            cases = {name: partial(_mix, mix, x, y) for name, mix in ways(method, options.classes).items()}
            taken = interleave(cases, repeats=options.repeats * options.pairs, device=options.device)
            for name, seconds in taken.items():
                ratios = sorted(own / other for own, other in zip(taken["ours"], seconds, strict=True))
                rows.append(
                    {
                        "batch": "x".join(map(str, shape)),
                        "method": method,
                        "case": name,
                        "ms": 1e3 * statistics.median(seconds),
                        "ours / this": statistics.median(ratios),
                        "10 %": ratios[len(ratios) // 10],
                        "90 %": ratios[len(ratios) * 9 // 10],
                    }
                )
    keys = ("classes", "pairs", "repeats")
    return Report("mixing", {key: getattr(options, key) for key in keys}, rows)


def _mix(mix: Callable[[Any, Any], Any], x: Any, y: Any) -> tuple[Any, ...]:
    return tuple(mix(x, y))


def ways(method: str, classes: int) -> dict[str, Callable[[Any, Any], Any]]:
    """The same method, α = 1, in each library."""
    from timm.data import Mixup as TimmMixup
    from torchvision.transforms import v2

    from alignmixup.methods.cutmix import CutMix
    from alignmixup.methods.mixup import Mixup

    ours, theirs = (Mixup, v2.MixUp) if method == "mixup" else (CutMix, v2.CutMix)
    alphas = {"mixup_alpha": float(method == "mixup"), "cutmix_alpha": float(method == "cutmix")}
    return {
        "ours": ours(num_classes=classes),
        "timm, in place": TimmMixup(**alphas, label_smoothing=0.0, num_classes=classes),
        "torchvision": theirs(num_classes=classes),
    }
