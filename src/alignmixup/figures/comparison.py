"""Several methods side by side: the test error of every run, and what that error costs."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from alignmixup.figures.axes import fold, log_where_wide, name_points
from alignmixup.figures.palette import INK, SOFT, series
from alignmixup.figures.save import Target, drawing

_KEY = "last10_error_percent"
_UNITS = (("seconds", 1), ("minutes", 60), ("hours", 3600))


def draw_comparison(results: Mapping[str, Any], path: Target) -> None:
    """Draw every run as a point, and the mean with its standard deviation, one line a method, of ``results.json``."""
    methods = results["methods"]
    reported = reported_errors(methods)
    tests = max(method.get("last10_epochs_evaluated", 10) for method in methods)
    says = [f"test error (%), mean of the last {tests} tests", "points: runs; bars: mean ± standard deviation"]
    says += ["diamonds: the AlignMixup paper, best epoch"] * bool(reported)
    names = [fold(method["name"], lines=3) for method in methods]
    below = list(accumulate((max(0.28, 0.08 + 0.15 * len(name.splitlines())) for name in names), initial=0))  # inches
    at = [(upper + lower) / 2 for upper, lower in pairwise(below)]
    with drawing(path, width=4, height=0.4 + 0.15 * len(says) + below[-1] + 0.2 * bool(results["data"])) as figure:
        axes = figure.subplots()
        for number, (y, method) in enumerate(zip(at, methods, strict=True)):
            mean, spread, colour = method["mean"][_KEY], method["spread"][_KEY], series(number)
            if spread is not None:
                axes.plot([mean - spread, mean + spread], [y, y], color=colour)
            axes.plot([mean, mean], [y - 0.1, y + 0.1], color=colour)
            for seed, run in zip(method["seeds"], method["runs"], strict=True):
                tooltip = f"{method['name']}, seed {seed}: {run[_KEY]:.2f} %"
                axes.plot(run[_KEY], y, "o", color=colour, alpha=0.5, markeredgewidth=0, gid=tooltip)
        for number, error in reported.items():
            tooltip = f"{methods[number]['name']} in the paper: {error:.2f} %"
            axes.plot(error, at[number], "D", markerfacecolor="none", color=INK, gid=tooltip)
        axes.set_yticks(at, names, color=INK)
        axes.set_ylim(below[-1], 0)
        axes.tick_params(axis="y", length=0)
        axes.set_title(results["data"])
        figure.supxlabel("\n".join(says), fontsize="medium", color=SOFT)


def reported_errors(methods: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Number of the method -> the paper's error, where that would not stretch the axis: it is of a full network and
    schedule.
    """
    least = min(run[_KEY] for method in methods for run in method["runs"])
    reported = {number: method.get("published_error_percent") for number, method in enumerate(methods)}
    return {number: error for number, error in reported.items() if error is not None and least < 2 * error}


def draw_cost(methods: Sequence[Mapping[str, Any]], path: Target) -> None:
    """Draw the mean error of ``methods`` of ``results.json`` against the time of a run: left and low is better."""
    longest = max(method["mean"]["seconds"] for method in methods)
    unit, size = max(((u, s) for u, s in _UNITS if s <= longest / 2 or s == 1), key=lambda pair: pair[1])
    times = [method["mean"]["seconds"] / size for method in methods]
    errors = [method["mean"][_KEY] for method in methods]
    with drawing(path, width=4, height=3.1) as figure:
        axes = figure.subplots()
        for row, (method, time, error) in enumerate(zip(methods, times, errors, strict=True)):
            tooltip = f"{method['name']}: {error:.2f} % in {time:.3g} {unit}"
            axes.errorbar(time, error, yerr=method["spread"][_KEY] or 0, color=series(row))
            axes.plot(time, error, "o", color=series(row), markersize=6, gid=tooltip)
        axes.set(xlabel=f"{unit} of a run", ylabel="test error (%)")
        axes.margins(0.1)
        log_where_wide(axes, "x", times)
        names = [method["name"] for method in methods]
        name_points(axes, list(zip(times, errors, names, strict=True)))
