"""Reliability diagrams: accuracy against confidence, one panel a method."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import fold, legend_below
from alignmixup.figures.palette import CARD, FIRST, INK, SECOND, SOFT
from alignmixup.figures.save import Target, drawing

_COLUMNS = 4


def draw_reliability(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Target) -> None:
    """Draw accuracy and confidence in each bin, and below them the share of images.

    ``groups`` holds label -> evaluations with the part "calibration", all with the same bins; those of a label are
    pooled.
    """
    columns = min(_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    with drawing(path, width=0.5 + 2.5 * columns, height=0.4 + 3.4 * rows) as figure:
        grid = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, height_ratios=[3, 1] * rows)
        for axes in grid.flat:
            axes.set_visible(False)
        for number, (label, results) in enumerate(groups.items()):
            row, column = 2 * (number // columns), number % columns
            top, bottom = grid[row, column], grid[row + 1, column]
            _draw_panel(top, bottom, label, [result["calibration"] for result in results])
            if column == 0:
                top.set_ylabel("accuracy")
                bottom.set_ylabel("share")
        legend_below(figure, grid[0, 0])


def pool(bins: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Left edges, share of all images, mean confidence and accuracy of the bins of several runs; zeros where one is
    empty.
    """
    counts = [sum(values) for values in zip(*(one["counts"] for one in bins), strict=True)]

    def mean(key: str) -> list[float]:
        weighted = ([value * count for value, count in zip(one[key], one["counts"], strict=True)] for one in bins)
        return [sum(values) / max(count, 1) for values, count in zip(zip(*weighted, strict=True), counts, strict=True)]

    total = sum(counts)
    return list(bins[0]["edges"][:-1]), [count / total for count in counts], mean("confidence"), mean("accuracy")


def _draw_panel(top: Any, bottom: Any, label: str, calibrations: Sequence[Mapping[str, Any]]) -> None:
    edges, share, confidence, accuracy = pool([one["reliability"] for one in calibrations])
    filled = [bin for bin in zip(edges, confidence, accuracy, share, strict=True) if bin[3] > 0]
    left, sure, right, _ = zip(*filled, strict=True)
    bars = {"width": 1 / len(edges), "align": "edge", "linewidth": 0.5}
    top.bar(left, right, **bars, color=FIRST, alpha=0.75, edgecolor=CARD, label="accuracy")
    gaps = [abs(a - c) for a, c in zip(right, sure, strict=True)]
    lower = [min(pair) for pair in zip(right, sure, strict=True)]
    top.bar(left, gaps, **bars, bottom=lower, color="none", edgecolor=SECOND, hatch="////", label="gap to confidence")
    top.plot([0, 1], [0, 1], "--", color=INK, linewidth=0.8)
    bottom.bar(edges, share, **bars, color=SOFT, alpha=0.5, edgecolor=CARD)
    for key, colour, name in (("mean_confidence", SECOND, "mean confidence"), ("accuracy", FIRST, "mean accuracy")):
        bottom.axvline(fmean(one[f"{key}_percent"] for one in calibrations) / 100, color=colour, linewidth=1.2)
        top.plot([], [], color=colour, linewidth=1.2, label=name)
    seeds = f", {len(calibrations)} runs" if len(calibrations) > 1 else ""
    ece = fmean(one["ece_percent"] for one in calibrations)
    top.set_title(f"{fold(label)}{seeds}\nECE {ece:.2f} %", fontsize="medium")
    bottom.set_xlabel("confidence")
    for axes in (top, bottom):
        axes.set_visible(True)
        axes.set_xlim(0, 1)
        axes.tick_params(labelsize=8, labelbottom=axes is bottom)
    top.set_ylim(0, 1)
