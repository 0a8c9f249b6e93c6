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
        + _draw_reported(axes, methods)
    )
    axes.grid(alpha=0.3, axis="x")
    axes.set_title(results["data"])
    save_png(figure, path)


def _draw_reported(axes: Any, methods: list[dict[str, Any]]) -> str:
    """The paper's numbers where they would not stretch the axis; returns what the axis has to say of them."""
    own = [run[_KEY] for method in methods for run in method["runs"]]
    reported = [(row, method.get("published_error_percent")) for row, method in enumerate(methods)]
    shown = [(row, error) for row, error in reported if error is not None and min(own) < 2 * error]
    if not shown:
        return ""
    axes.plot([error for _, error in shown], [row for row, _ in shown], "D", mfc="none", color="tab:red", zorder=4)
    return "\ndiamonds: the AlignMixup paper, best epoch"
