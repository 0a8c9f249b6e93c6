"""Figures of evaluations, one for each part that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from alignmixup.evaluation.summary import group_by_method
from alignmixup.figures.attacks import draw_attacks
from alignmixup.figures.corruptions import draw_corruptions
from alignmixup.figures.reliability import draw_reliability


def draw_figures(results: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """Draw what all results hold beside the JSON file ``out``.

    Returns:
        The figures there are. That of out-of-distribution scores was drawn while they were measured.
    """
    groups = group_by_method(results)
    figures = []
    for part, draw in (("calibration", draw_reliability), ("attacks", draw_attacks), ("corruptions", _corruptions)):
        if all(part in result for result in results):
            figures.append(out.with_name(f"{out.stem}-{part}.png"))
            draw(groups, figures[-1])
    ood = out.with_name(f"{out.stem}-ood.png")
    return [*figures, ood] if len(results) == 1 and "ood" in results[0] and ood.is_file() else figures


def _corruptions(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    draw_corruptions(
        {label: mean_corruptions([one["corruptions"] for one in several]) for label, several in groups.items()}, path
    )


def mean_corruptions(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Errors under corruptions, averaged over runs of the same corruptions.

    Args:
        several: what ``evaluate_corruptions`` returned for each run, at least one.

    Returns:
        The same of all together.
    """
    first = several[0]
    errors = {
        kind: [fmean(values) for values in zip(*(one["error_percent"][kind] for one in several), strict=True)]
        for kind in first["kinds"]
    }
    mean = {key: fmean(one[key] for one in several) for key in ("clean_error_percent", "mean_error_percent")}
    means = {kind: fmean(values) for kind, values in errors.items()}
    return {**first, **mean, "error_percent": errors, "kind_error_percent": means}
