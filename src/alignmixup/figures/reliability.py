"""Reliability diagrams: accuracy against confidence, one panel a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from alignmixup.figures.save import new_figure, save_png

_COLUMNS = 4


def draw_reliability(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw accuracy and confidence in each bin, and below them the share of images, into a PNG file.

    Args:
        groups: label -> evaluations with the part "calibration", all with the same bins; those of a label (seeds)
            are pooled.
        path: the file to write.
    """
    columns = min(_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    figure = new_figure(width=0.6 + 2.6 * columns, height=3.6 * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, height_ratios=[3, 1] * rows)
    for axes in grid.flat[:]:
        axes.set_visible(False)
    for number, (label, results) in enumerate(groups.items()):
        row, column = 2 * (number // columns), number % columns
        _draw_panel(grid[row, column], grid[row + 1, column], label, [result["calibration"] for result in results])
        if column == 0:
            grid[row, 0].set_ylabel("accuracy")
            grid[row + 1, 0].set_ylabel("share")
    grid[0, 0].legend(fontsize=7, loc="upper left")
    save_png(figure, path)


def pool(bins: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Pool the reliability bins of several runs.

    Returns:
        Left edges; share of all images; mean confidence; accuracy. Of each bin, zeros where it is empty.
    """
    counts = [sum(values) for values in zip(*(one["counts"] for one in bins), strict=True)]

    def mean(key: str) -> list[float]:
        weighted = ([value * count for value, count in zip(one[key], one["counts"], strict=True)] for one in bins)
        return [sum(values) / max(count, 1) for values, count in zip(zip(*weighted, strict=True), counts, strict=True)]

    total = sum(counts)
    return list(bins[0]["edges"][:-1]), [count / total for count in counts], mean("confidence"), mean("accuracy")


def _draw_panel(top: Any, bottom: Any, label: str, calibrations: Sequence[Mapping[str, Any]]) -> None:
    edges, share, confidence, accuracy = pool([one["reliability"] for one in calibrations])
    width = 1 / len(edges)
    filled = [place for place, value in enumerate(share) if value > 0]
    left = [edges[place] for place in filled]
    right, sure = [accuracy[place] for place in filled], [confidence[place] for place in filled]
    top.bar(left, right, width, align="edge", color="tab:blue", edgecolor="white", linewidth=0.5, label="accuracy")
    gaps = [abs(a - c) for a, c in zip(right, sure, strict=True)]
    lower = [min(a, c) for a, c in zip(right, sure, strict=True)]
    style = {"color": "none", "edgecolor": "tab:red", "hatch": "////", "linewidth": 0.5}
    top.bar(left, gaps, width, bottom=lower, align="edge", label="gap to confidence", **style)
    top.plot([0, 1], [0, 1], "--", color="gray", linewidth=0.8)
    ece = fmean(one["ece_percent"] for one in calibrations)
    seeds = f", {len(calibrations)} runs" if len(calibrations) > 1 else ""
    top.set_title(f"{label}{seeds}\nECE {ece:.2f} %", fontsize=8)
    bottom.bar(edges, share, width, align="edge", color="tab:gray", edgecolor="white", linewidth=0.5)
    bottom.axvline(fmean(one["mean_confidence_percent"] for one in calibrations) / 100, color="tab:red", linewidth=1)
    bottom.axvline(fmean(one["accuracy_percent"] for one in calibrations) / 100, color="tab:blue", linewidth=1)
    bottom.set_xlabel("confidence (red: its mean, blue: accuracy)", fontsize=7)
    for axes in (top, bottom):
        axes.set_visible(True)
        axes.set_xlim(0, 1)
        axes.tick_params(labelsize=7, labelbottom=axes is bottom)
    top.set_ylim(0, 1)
