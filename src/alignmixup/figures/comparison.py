"""Test error of several methods: every seed as a point, the mean with its spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignmixup.figures.save import new_figure, save_png

_KEY = "last10_error_percent"


def draw_comparison(results: dict[str, Any], path: Path) -> None:
    """Plot the results of ``alignmixup compare`` into a PNG file.

    Args:
        results: what ``results.json`` holds.
        path: the file to write.
    """
    methods = results["methods"]
    figure = new_figure(width=7, height=1.2 + 0.5 * len(methods))
    axes = figure.subplots()
    for row, method in enumerate(methods):
        points = [run[_KEY] for run in method["runs"]]
        axes.plot(points, [row] * len(points), "o", color="tab:blue", alpha=0.5, zorder=2)
        axes.errorbar(
            method["mean"][_KEY],
            row,
            xerr=method["spread"][_KEY],
            fmt="|",
            color="black",
            markersize=16,
            capsize=4,
            zorder=3,
        )
    axes.set_yticks(range(len(methods)), [method["name"] for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlabel(
        "test error (%), mean of the last 10 epochs\npoints: seeds; bars: mean ± standard deviation over seeds"
    )
    axes.grid(alpha=0.3, axis="x")
    axes.set_title(results["data"])
    save_png(figure, path)
