"""What a classifier believes along interpolation paths, on average over many pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignmixup.figures.save import new_figure, save_png

_STYLES = {
    "first": ("aligned, geometry of A", "tab:blue", "-"),
    "partner": ("aligned, geometry of B", "tab:orange", "-"),
    "none": ("not aligned", "black", "--"),
}
_PANELS = {
    "either": "probability of A's or B's class",
    "own": "probability of A's class",
    "partner": "probability of B's class",
    "entropy": "entropy (nats)",
    "decoded_either": "A's or B's class, decoded images",
    "sharpness": "sharpness of decoded images",
}


def draw_confidence(summary: Mapping[str, Any], path: Path, *, title: str = "") -> None:
    """Plot means over pairs against λ into a PNG file; the bands are one standard error wide either way.

    Args:
        summary: what `alignmixup.evaluation.paths.summary.summarise_paths` returned.
        path: the file to write.
        title: stands above.

    Raises:
        ImportError: matplotlib is not installed.
    """
    lam, paths = summary["lam"], summary["all"]["paths"]
    names = [name for name in _PANELS if name in paths["none"]["curves"]]
    figure = new_figure(width=3.1 * min(4, len(names)), height=2.7 * -(-len(names) // 4) + 0.7)
    rows = -(-len(names) // 4)
    grid = figure.subplots(rows, min(4, len(names)), squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        for which, (label, colour, line) in _STYLES.items():
            curve = paths[which]["curves"][name]
            axes.plot(lam, curve["mean"], line, color=colour, label=label)
            if None not in curve["standard_error"]:
                both = list(zip(curve["mean"], curve["standard_error"], strict=True))
                axes.fill_between(
                    lam, [m - e for m, e in both], [m + e for m, e in both], color=colour, alpha=0.25, lw=0
                )
        axes.set(xlim=(1, 0), xlabel="λ, weight of A")
        axes.set_title(_PANELS[name], fontsize="medium")
        axes.grid(alpha=0.3)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.suptitle(title, fontsize="medium")
    save_png(figure, path)
