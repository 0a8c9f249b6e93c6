"""What a classifier believes along interpolation paths, on average over many pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignmixup.figures.axes import legend_below, panels
from alignmixup.figures.palette import FIRST, INK, SECOND
from alignmixup.figures.save import Target, drawing

_STYLES = {
    "first": ("aligned, geometry of A", FIRST, "-"),
    "partner": ("aligned, geometry of B", SECOND, "-"),
    "none": ("not aligned", INK, "--"),
}
_PANELS = {
    "either": "probability of A's or B's class",
    "own": "probability of A's class",
    "partner": "probability of B's class",
    "entropy": "entropy (nats)",
    "decoded_either": "A's or B's class, decoded images",
    "sharpness": "sharpness of decoded images",
}
_COLUMNS = 4


def draw_confidence(summary: Mapping[str, Any], path: Target, *, title: str = "") -> None:
    """Draw means over pairs against λ; the bands are one standard error wide either way.

    Args:
        summary: what `alignmixup.evaluation.paths.summary.summarise_paths` returned.
        path: where to write.
        title: stands above.
    """
    lam, paths = summary["lam"], summary["all"]["paths"]
    names = [name for name in _PANELS if name in paths["none"]["curves"]]
    rows = -(-len(names) // _COLUMNS)
    with drawing(path, width=3.1 * min(_COLUMNS, len(names)), height=2.7 * rows + 0.7) as figure:
        grid = panels(figure, len(names), columns=_COLUMNS)
        for axes, name in zip(grid, names, strict=True):
            for which, (label, colour, line) in _STYLES.items():
                mean, error = (paths[which]["curves"][name][key] for key in ("mean", "standard_error"))
                axes.plot(lam, mean, line, color=colour, label=label)
                if None not in error:
                    low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
                    axes.fill_between(lam, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.set(xlim=(1, 0), xlabel="λ, weight of A")
            axes.set_title(_PANELS[name])
        legend_below(figure, grid[0], columns=3)
        figure.suptitle(title)
