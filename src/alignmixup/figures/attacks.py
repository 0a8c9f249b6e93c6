"""Error under attack: against the iteration, and against the size of the ball."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import count_along, legend_below
from alignmixup.figures.palette import SERIES, dashes, series
from alignmixup.figures.save import Target, drawing


def draw_attacks(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Target) -> None:
    """Draw two panels, the second only where the attacks were checked.

    ``groups`` holds label -> evaluations with the part "attacks", all of the same attacks; a line is the label's mean.
    """
    parts = {label: [result["attacks"] for result in results] for label, results in groups.items()}
    checked = all("checks" in part for several in parts.values() for part in several)
    lines = sum(len(several[0]["attacks"]) for several in parts.values())
    columns = 1 + checked
    with drawing(path, width=4.6 * columns, height=3.2 + 0.17 * -(-lines // columns)) as figure:
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for number, (label, several) in enumerate(parts.items()):
            _draw_paths(panels[0], label, several, colour=series(number))
            if checked:
                _draw_epsilons(panels[1], several, colour=series(number))
        count_along(panels[0], "iteration (0: the start)")
        panels[0].set_ylabel("error (%)")
        images = ", ".join(sorted({str(part["images"]) for several in parts.values() for part in several}))
        panels[0].set_title(f"{images} images")
        for axes in panels:
            axes.set_ylim(0, 103)
        legend_below(figure, panels[0], columns=columns)


def _draw_paths(axes: Any, label: str, several: Sequence[Mapping[str, Any]], *, colour: str) -> None:
    for number, attack in enumerate(several[0]["attacks"]):
        look = {"color": colour, "label": f"{label}: {attack['label']}"}
        if "path_error_percent" not in attack:  # autoattack has no one path
            error = fmean(part["attacks"][number]["error_percent"] for part in several)
            axes.axhline(error, linestyle=dashes(SERIES * number), linewidth=1, **look)
            continue
        paths = [part["attacks"][number]["path_error_percent"] for part in several]
        mean = [fmean(values) for values in zip(*paths, strict=True)]
        marker, style = ("o", "solid") if len(mean) == 2 else ("", dashes(SERIES * number))
        axes.plot(mean, marker=marker, linestyle=style, markersize=4, **look)


def _draw_epsilons(axes: Any, several: Sequence[Mapping[str, Any]], *, colour: str) -> None:
    """In the colours of the legend's labels."""
    sweeps = [check for part in several for check in part["checks"]["checks"] if check["name"] == "epsilon"]
    mean = [fmean(values) for values in zip(*(sweep["error_percent"] for sweep in sweeps), strict=True)]
    axes.plot([255 * value for value in sweeps[0]["epsilon"]], mean, "o-", color=colour, markersize=4)
    checks = several[0]["checks"]
    axes.set_xlabel("epsilon (grey levels of 255)")
    axes.set_title(f"{checks['attack']}, other epsilons, {checks['images']} images")
