"""The charts of the report, from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from alignmixup.report.html import escape, figure, tag
from alignmixup.report.rows import Row
from alignmixup.report.svg import HEIGHT, SERIES, TEXT, WIDTH, Chart, Scale, plot, row_plot

_KEY = "last10_error_percent"
_LONGEST = 26  # characters of a name inside a chart
_POINTS = 240  # of a curve, at most
_BANDS = 4  # more areas hide each other: then the baseline and the best have one
_UNITS = (("seconds", 1), ("minutes", 60), ("hours", 3600))


def draw_all(rows: Sequence[Row]) -> str:
    """The charts that these rows have numbers for, as figures under one legend."""
    figures = [draw_errors(rows), draw_cost(rows), *draw_curves(rows)]
    return legend(rows) + tag("div", "".join(figures), class_="charts")


def legend(rows: Sequence[Row]) -> str:
    """Colour and name of each row."""
    items = "".join(
        tag("li", f'<svg viewBox="0 0 22 10" aria-hidden="true">{_swatch(number)}</svg>{escape(row.name)}')
        for number, row in enumerate(rows)
    )
    return tag("ul", items, class_="legend", aria_label="Colours of the methods in the charts")


def _swatch(number: int) -> str:
    again = " again" if number >= SERIES else ""
    return f'<line class="line s{number % SERIES}{again}" x1="1" y1="5" x2="21" y2="5"/>'


def draw_errors(rows: Sequence[Row]) -> str:
    """Every run, mean and spread of each row, the paper's numbers beside them."""
    own = [run.record["metrics"][_KEY] for row in rows for run in row.runs]
    # the paper's full network and schedule may be far off what was run here
    near = [row.published for row in rows if row.published is not None and min(own) < 2 * row.published]
    chart = row_plot(
        [*own, *near], [row.name for row in rows], x_label="test error (%), mean of the last 10 epochs",
        title="Test error of each method: " + "; ".join(f"{row.name} {row.error()}" for row in rows),
    )  # fmt: skip
    for number, row in enumerate(rows):
        mean, spread = row.summary["mean"][_KEY], row.summary["spread"][_KEY]
        if spread is not None:
            chart.bar((mean - spread, mean + spread), (number, number), number)
        chart.bar((mean, mean), (number - 0.3, number + 0.3), number)
        for run in row.runs:
            error = run.record["metrics"][_KEY]
            chart.dot(error, number, number, title=f"{row.name}, seed {run.record['seed']}: {error:.2f} %", faint=True)
        if row.published is not None and near:
            chart.diamond(row.published, number, title=f"{row.name} in the paper: {row.published:.2f} %")
    diamonds = " Diamonds: the AlignMixup paper, best epoch of the full run." if near else ""
    return figure(chart.render(), f"Test error. Points: runs; bars: mean ± standard deviation.{diamonds}")


def draw_cost(rows: Sequence[Row]) -> str:
    """Error against the time of training; left and low is better."""
    seconds = [row.summary["mean"]["seconds"] for row in rows]
    unit, size = max(((u, s) for u, s in _UNITS if s <= max(seconds) / 2 or s == 1), key=lambda pair: pair[1])
    points = [
        (time / size, row.summary["mean"][_KEY], row.summary["spread"][_KEY] or 0.0)
        for time, row in zip(seconds, rows, strict=True)
    ]
    words = [f"{row.name}: {e:.2f} % in {time:.3g} {unit}" for row, (time, e, _) in zip(rows, points, strict=True)]
    chart = plot(
        [time for time, _, _ in points], [end for _, error, bar in points for end in (error - bar, error + bar)],
        x_label=f"{unit} of a run", y_label="test error (%)", log_x=True,
        title="Test error against the time of a run. " + "; ".join(words),
    )  # fmt: skip
    for number, (time, error, spread) in enumerate(points):
        chart.bar((time, time), (error - spread, error + spread), number)
    for number, (time, error, _) in enumerate(points):
        chart.dot(time, error, number, title=words[number], radius=5.5)
    _place_names(chart, [(chart.x(t), chart.y(e), row.name) for (t, e, _), row in zip(points, rows, strict=True)])
    machines = {str(run.record.get("environment", {}).get("processor")) for row in rows for run in row.runs}
    caveat = "" if len(machines) == 1 else " The runs come from different machines: times do not compare."
    return figure(
        chart.render(), f"What a method costs, and what it buys: left and low is better. Bars: ± spread.{caveat}"
    )


def _place_names(chart: Chart, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside their points, where no other name or point is; a name without room is left to the legend."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in points]
    for x, y, whole in sorted(points, key=lambda point: point[1]):
        name = whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 1]}…"
        width = TEXT * len(name)
        choices = [(x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 11), (x - width / 2, y + 20)]
        choices += [(x + 7, y - 9), (x + 7, y + 17), (x - 7 - width, y - 9), (x - 7 - width, y + 17)]
        inside = (c for c in choices if c[0] >= chart.x.start and c[0] + width <= WIDTH and 10 < c[1] < chart.y.start)
        free = [c for c in inside if not any(_overlap((c[0], c[1] - 10, c[0] + width, c[1] + 3), box) for box in taken)]
        if free:
            left, base = free[0]
            taken.append((left, base - 10, left + width, base + 3))
            chart.text(left, base, name)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def draw_curves(rows: Sequence[Row]) -> list[str]:
    """Test error and training loss over the epochs, where more than one epoch was measured."""
    wanted = [
        ("error_percent", "test error (%)", "Test error over the epochs"),
        ("train_loss", "training loss", "Training loss, of mixed labels where a method mixes them"),
    ]
    figures = []
    for key, label, caption in wanted:
        curves = [_curve(row, key) for row in rows]
        if max(len(curve) for curve in curves) > 1:
            figures.append(_draw_curve(curves, label=label, caption=caption, banded=_banded(rows)))
    return figures


def _banded(rows: Sequence[Row]) -> list[int]:
    """The rows whose runs are shown as an area."""
    several = [number for number, row in enumerate(rows) if len(row.runs) > 1]
    if len(several) <= _BANDS:
        return several
    best = min(several, key=lambda number: rows[number].summary["mean"][_KEY])
    return [number for number in several if rows[number].method == "baseline" or number == best]


def _curve(row: Row, key: str) -> list[tuple[float, float, float, float]]:
    """(epoch from 1, mean, smallest, largest over the runs) of the epochs that all runs have."""
    values = [{entry["epoch"] + 1: entry[key] for entry in run.record["curve"] if key in entry} for run in row.runs]
    epochs = sorted(set.intersection(*(set(one) for one in values)))
    step = max(1, len(epochs) // _POINTS)
    kept = [epoch for place, epoch in enumerate(epochs) if place % step == 0 or epoch == epochs[-1]]
    found = [(epoch, [one[epoch] for one in values]) for epoch in kept]
    return [(epoch, fmean(numbers), min(numbers), max(numbers)) for epoch, numbers in found]


def _draw_curve(
    curves: Sequence[Sequence[tuple[float, ...]]], *, label: str, caption: str, banded: Sequence[int]
) -> str:
    shown = [
        value for number, c in enumerate(curves) for point in c for value in point[1 : 4 if number in banded else 2]
    ]
    chart = plot(
        [point[0] for curve in curves for point in curve], shown,
        x_label="epoch", y_label=label, title=f"{caption}; the numbers are in the table", log_y=True,
    )  # fmt: skip
    for number in banded:
        chart.band([(epoch, low, high) for epoch, _, low, high in curves[number]], number)
    for number, curve in enumerate(curves):
        chart.line([(epoch, mean) for epoch, mean, _, _ in curve], number)
    some = "" if len(banded) == len(curves) else " (baseline and lowest error)" if len(curves) > _BANDS else ""
    areas = f" Lines: mean over the runs; areas{some}: smallest to largest." if banded else ""
    return figure(chart.render(), f"{caption}.{areas}")


def draw_reliability(rows: Sequence[Row]) -> str:
    """Accuracy against confidence of every row with a run whose calibration was measured, one chart a row."""
    figures = []
    for number, row in enumerate(rows):
        found = [run.evaluation["calibration"] for run in row.runs if run.evaluation.get("calibration")]
        bins = [one["reliability"] for one in found if one.get("reliability")]
        if bins:
            errors = ", ".join(f"{one['ece_percent']:.2f}" for one in found)
            chart = _reliability_chart(bins, number, title=f"Reliability of {row.name}, ECE {errors} %")
            figures.append(
                figure(chart.render(), f"{row.name}. ECE {errors} % ({len(found)} run{'s' * (len(found) > 1)}).")
            )
    return tag("div", "".join(figures), class_="charts small") if figures else ""


def _reliability_chart(bins: Sequence[Mapping[str, Any]], series: int, *, title: str) -> Chart:
    """Bins of all runs together; the diagonal is perfect calibration."""
    x = Scale(0, 1, 56, WIDTH - 12)
    chart = Chart(x, Scale(0, 1, HEIGHT - 40, 12), "confidence", "accuracy", title)
    edges = bins[0]["edges"]
    for place, (low, high) in enumerate(pairwise(edges)):
        count = sum(one["counts"][place] for one in bins)
        if count:
            right = sum(one["accuracy"][place] * one["counts"][place] for one in bins) / count
            chart.area((low, high), (0, right), series)
    chart.marks.append(
        f'<line class="perfect" x1="{x(0):.1f}" y1="{chart.y(0):.1f}" x2="{x(1):.1f}" y2="{chart.y(1):.1f}"/>'
    )
    return chart
