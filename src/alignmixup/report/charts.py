"""The charts of the page: the figures of the rows, in the page's colours, with their captions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from alignmixup.figures.comparison import draw_comparison, draw_cost, reported_errors
from alignmixup.figures.curves import draw_mean_curves, mean_curve
from alignmixup.figures.reliability import draw_reliability
from alignmixup.figures.save import inline_svg
from alignmixup.report.rows import KEY, Row

_BANDS = 4  # more areas hide each other: then the baseline and the best have one
_CURVES = {
    "error_percent": "Test error over the epochs",
    "train_loss": "Training loss, of mixed labels where a method mixes them",
}


@dataclass(frozen=True)
class Chart:
    """A figure of the page: its element, with everything in it escaped, and its caption, text."""

    svg: str
    caption: str


def _chart(draw: Callable[[IO[str]], None], *, label: str, caption: str) -> Chart:
    return Chart(inline_svg(draw, label=label), caption)


def draw_charts(rows: Sequence[Row]) -> list[Chart]:
    """Error, cost, and the curves where more than one epoch was measured."""
    methods = [{**row.summary, "name": row.name, "published_error_percent": row.published} for row in rows]
    paper = " Diamonds: the AlignMixup paper, best epoch of the full run." if reported_errors(methods) else ""
    machines = {str(run.record.get("environment", {}).get("processor")) for row in rows for run in row.runs}
    caveat = "" if len(machines) == 1 else " The runs come from different machines: times do not compare."
    errors = "; ".join(f"{row.name} {row.error()}" for row in rows)
    charts = [
        _chart(
            lambda file: draw_comparison({"data": "", "methods": methods}, file),
            label=f"Test error of each method: {errors}",
            caption=f"Test error. Points: runs; bars: mean ± standard deviation.{paper}",
        ),
        _chart(
            lambda file: draw_cost(methods, file),
            label=f"Test error against the time of a run. {errors}",
            caption=f"What a method costs, and what it buys: left and low is better. Bars: ± spread.{caveat}",
        ),
    ]
    groups = [(row.name, [run.record for run in row.runs]) for row in rows]
    banded = _banded(rows)
    some = "" if len(banded) == len(rows) else " (baseline and lowest error)" if len(rows) > _BANDS else ""
    areas = f" Lines: mean over the runs; areas{some}: smallest to largest." if banded else ""
    for key, caption in _CURVES.items():
        if max(len(mean_curve(records, key)[0]) for _, records in groups) > 1:
            draw = partial(draw_mean_curves, groups, key, banded=banded)
            charts.append(_chart(draw, label=f"{caption}; the numbers are in the table", caption=f"{caption}.{areas}"))
    return charts


def _banded(rows: Sequence[Row]) -> list[int]:
    """The rows whose runs are shown as an area."""
    several = [number for number, row in enumerate(rows) if len(row.runs) > 1]
    if len(several) <= _BANDS:
        return several
    best = min(several, key=lambda number: rows[number].summary["mean"][KEY])
    return [number for number in several if rows[number].method == "baseline" or number == best]


def draw_reliabilities(rows: Sequence[Row]) -> list[Chart]:
    """Accuracy against confidence of every row with a run whose calibration was measured, one chart a row."""
    charts = []
    for row in rows:
        alike: dict[tuple[float, ...], list[Mapping[str, Any]]] = {}
        for run in row.runs:
            if bins := run.evaluation.get("calibration", {}).get("reliability"):
                alike.setdefault(tuple(round(edge, 5) for edge in bins["edges"]), []).append(run.evaluation)
        for found in alike.values():
            errors = ", ".join(f"{one['calibration']['ece_percent']:.2f}" for one in found)
            runs = f"({len(found)} run{'s' * (len(found) > 1)})"
            charts.append(
                _chart(
                    partial(draw_reliability, {row.name: found}),
                    label=f"Reliability of {row.name}, ECE {errors} %",
                    caption=f"{row.name}. ECE {errors} % {runs}.",
                )
            )
    return charts
