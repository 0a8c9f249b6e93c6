"""Error under attack, against the iteration and the size of the ball; error under corruptions as bars."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import count_along, legend_below
from alignmixup.figures.palette import CARD, DASHES, INK, SERIES, dashes, series
from alignmixup.figures.save import Target, drawing

# where the colours of methods, or the dashes of attacks, come again
_MARKERS = ("", "s", "^", "D", "v", "P", "X", "*")
_HATCHES = ("", "////", "....", "xxxx")


def draw_attacks(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Target) -> None:
    """Draw two panels, the second only where one attack was checked in all of them.

    ``groups`` holds label -> evaluations with the part "attacks"; a line is the mean of an attack, found by its own
    label, that all of a label have.
    """
    parts = {label: [result["attacks"] for result in results] for label, results in groups.items()}
    examined = {part.get("checks", {}).get("attack") for several in parts.values() for part in several}
    checked = len(examined) == 1 and None not in examined
    attacks = {label: _by_attack(several) for label, several in parts.items()}
    every = list(dict.fromkeys(attack for own in attacks.values() for attack in own))
    lines = sum(map(len, attacks.values()))
    columns = 1 + checked
    with drawing(path, width=4.6 * columns, height=3.2 + 0.17 * -(-lines // columns)) as figure:
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for number, (label, several) in enumerate(parts.items()):
            for attack, rows in attacks[label].items():
                place = every.index(attack)
                marker = _marker(number, len(parts), place)
                look = {"color": series(number), "linestyle": dashes(SERIES * place), "marker": marker}
                _draw_path(panels[0], rows, label=f"{label}: {attack}", **look)
            if checked:
                marker = _marker(number, len(parts), 0) or "o"
                _draw_epsilons(panels[1], several, color=series(number), marker=marker)
        count_along(panels[0], "iteration (0: the start)")
        panels[0].set_ylabel("error (%)")
        images = ", ".join(sorted({str(part["images"]) for several in parts.values() for part in several}))
        panels[0].set_title(f"{images} images")
        for axes in panels:
            axes.set_ylim(0, 103)
        legend_below(figure, panels[0], columns=columns)


def _by_attack(several: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Label of an attack -> its row of each run; of attacks that all have, in the order of the first."""
    rows = [{row["label"]: row for row in part["attacks"]} for part in several]
    return {attack: [own[attack] for own in rows] for attack in rows[0] if all(attack in own for own in rows)}


def _marker(method: int, methods: int, attack: int) -> str:
    """What tells lines of one colour and dash apart."""
    number = attack // len(DASHES) * -(-methods // SERIES) + method // SERIES
    return _MARKERS[number % len(_MARKERS)]


def _draw_path(axes: Any, rows: Sequence[Mapping[str, Any]], *, marker: str, **look: Any) -> None:
    if "path_error_percent" not in rows[0]:  # autoattack has no one path
        axes.axhline(fmean(row["error_percent"] for row in rows), linewidth=1, marker=marker, markersize=4, **look)
        return
    mean = [fmean(values) for values in zip(*(row["path_error_percent"] for row in rows), strict=True)]
    marker = marker or ("o" if len(mean) == 2 else "")
    axes.plot(mean, marker=marker, markevery=max(1, len(mean) // 10), markersize=4, **look)


def _draw_epsilons(axes: Any, several: Sequence[Mapping[str, Any]], **look: Any) -> None:
    """In the colours of the legend's labels."""
    sweeps = [check for part in several for check in part["checks"]["checks"] if check["name"] == "epsilon"]
    mean = [fmean(values) for values in zip(*(sweep["error_percent"] for sweep in sweeps), strict=True)]
    axes.plot([255 * value for value in sweeps[0]["epsilon"]], mean, markersize=4, **look)
    checks = several[0]["checks"]
    axes.set_xlabel("epsilon (grey levels of 255)")
    axes.set_title(f"{checks['attack']}, other epsilons, {checks['images']} images")


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
            look = {"color": series(number), "hatch": _HATCHES[number // SERIES % len(_HATCHES)], "edgecolor": CARD}
            axes.bar(at, heights, 0.95 * bar, linewidth=0, alpha=0.75, label=label, **look)
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
