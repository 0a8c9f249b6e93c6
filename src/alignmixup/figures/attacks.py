"""Error under attack: against the iteration, and against the size of the ball."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import count_epochs
from alignmixup.figures.save import new_figure, save_png

_STYLES = ("-", "--", ":", "-.")


def draw_attacks(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw two panels into a PNG file; the second only where the attacks were checked.

    Args:
        groups: label -> evaluations with the part "attacks", all of the same attacks; means over those of a label.
        path: the file to write.
    """
    parts = {label: [result["attacks"] for result in results] for label, results in groups.items()}
    checked = all("checks" in part for several in parts.values() for part in several)
    figure = new_figure(width=9 if checked else 5, height=3.6)
    panels = figure.subplots(1, 2 if checked else 1, squeeze=False)[0]
    for number, (label, several) in enumerate(parts.items()):
        _draw_paths(panels[0], label, several, colour=f"C{number}")
        if checked:
            _draw_epsilons(panels[1], label, several, colour=f"C{number}")
    count_epochs(panels[0])
    panels[0].set(xlabel="iteration (0: the start)", ylabel="error (%)")
    images = ", ".join(sorted({str(part["images"]) for several in parts.values() for part in several}))
    panels[0].set_title(f"{images} images", fontsize="medium")
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_ylim(0, 103)
        axes.legend(fontsize=7)
    save_png(figure, path)


def _draw_paths(axes: Any, label: str, several: Sequence[Mapping[str, Any]], *, colour: str) -> None:
    for number, attack in enumerate(several[0]["attacks"]):
        paths = [part["attacks"][number]["path_error_percent"] for part in several]
        mean = [fmean(values) for values in zip(*paths, strict=True)]
        style = "o-" if len(mean) == 2 else _STYLES[number % len(_STYLES)]
        name = f"{label}: {attack['label']}"
        axes.plot(range(len(mean)), mean, style, color=colour, markersize=3, linewidth=1.2, label=name)


def _draw_epsilons(axes: Any, label: str, several: Sequence[Mapping[str, Any]], *, colour: str) -> None:
    sweeps = [check for part in several for check in part["checks"]["checks"] if check["name"] == "epsilon"]
    mean = [fmean(values) for values in zip(*(sweep["error_percent"] for sweep in sweeps), strict=True)]
    axes.plot([255 * value for value in sweeps[0]["epsilon"]], mean, "o-", color=colour, markersize=3, label=label)
    checks = several[0]["checks"]
    axes.set(xlabel="epsilon (grey levels of 255)")
    axes.set_title(f"{checks['attack']}, other epsilons, {checks['images']} images", fontsize="medium")
