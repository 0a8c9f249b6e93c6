"""Errors under common corruptions as bars."""

from collections.abc import Mapping
from typing import Any

from alignmixup.figures.axes import legend_below
from alignmixup.figures.palette import INK, series
from alignmixup.figures.save import Target, drawing


def draw_corruptions(results: Mapping[str, dict[str, Any]], path: Target, *, title: str = "") -> None:
    """Draw a bar for each kind and run, with a line for each severity.

    ``results`` holds name of a run -> what `evaluate_corruptions` returned, all of the same kinds, else ValueError.
    """
    if not results or len({tuple(result["kinds"]) for result in results.values()}) != 1:
        raise ValueError(f"draw runs of the same corruptions, at least one; got {list(results)}")
    first = next(iter(results.values()))
    kinds, bar = first["kinds"], 0.8 / len(results)
    width = max(6.0, 1.6 + 0.42 * len(kinds) + 0.14 * len(kinds) * len(results))
    with drawing(path, width=width, height=4 + 0.17 * len(results)) as figure:
        axes = figure.subplots()
        for number, (name, result) in enumerate(results.items()):
            at = [place + (number - (len(results) - 1) / 2) * bar for place in range(len(kinds))]
            heights = [result["kind_error_percent"][kind] for kind in kinds]
            mean, clean = result["mean_error_percent"], result["clean_error_percent"]
            label = f"{name}: mean {mean:.1f} %, clean {clean:.1f} %"
            axes.bar(at, heights, 0.95 * bar, color=series(number), alpha=0.75, label=label)
            axes.axhline(clean, color=series(number), linewidth=1, linestyle="--")
            for x, kind in zip(at, kinds, strict=True):
                errors = result["error_percent"][kind]
                axes.plot([x] * len(errors), errors, "_", color=INK, markersize=22 * bar, alpha=0.7)
        axes.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds], rotation=45, ha="right")
        axes.set(xlim=(-0.6, len(kinds) - 0.4), ylabel="test error (%)")
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        severities = ", ".join(map(str, first["severities"]))
        axes.set_title(title or f"bars: mean over severities {severities}, each a line; dashed: clean")
        legend_below(figure, axes, columns=1)
