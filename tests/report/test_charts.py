"""The charts of the page, from rows."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alignmixup.figures.palette import LIGHT
from alignmixup.report.charts import Chart, draw_charts, draw_reliabilities
from alignmixup.report.collect import find_runs
from alignmixup.report.rows import Row, build_rows

Make = Callable[..., Path]


@pytest.fixture
def rows(make: Make, tmp_path: Path) -> list[Row]:
    for seed in (0, 1):
        make("baseline", seed, [60.0, 30.0 + seed, 20.0 + seed])
    make("mixup", 0, [50.0, 25.0, 18.0])
    return build_rows(find_runs([tmp_path]))


def texts(chart: Chart, kind: str = "text") -> list[str | None]:
    return [element.text for element in ET.fromstring(chart.svg).iter(kind)]


def test_error_cost_and_curves_name_every_row_and_every_run(rows: list[Row]) -> None:
    errors, cost, curves, losses = draw_charts(rows)
    for chart in (errors, cost, curves, losses):
        assert {"Baseline", "Mixup"} <= set(texts(chart))
    assert texts(errors, "title") == [
        "Baseline, seed 0: 36.67 %",
        "Baseline, seed 1: 37.33 %",  # (60 + 31 + 21) / 3
        "Mixup, seed 0: 31.00 %",
    ]
    assert "Baseline 37.00 ± 0.47; Mixup 31.00" in errors.svg  # for those who cannot see it
    assert "Mixup: 31.00 % in 90 seconds" in texts(cost, "title")
    assert "seconds of a run" in texts(cost)
    assert tuple(
        next(text for text in texts(chart) if text and text.split()[0] in ("test", "training"))
        for chart in (curves, losses)
    ) == ("test error (%)", "training loss (mixed labels)")
    assert curves.caption == "Test error over the epochs. Lines: mean over the runs; areas: smallest to largest."


def test_captions_say_what_is_drawn(rows: list[Row]) -> None:
    near = draw_charts([replace(row, published=30.0) for row in rows])[0]
    assert "Diamonds: the AlignMixup paper" in near.caption
    assert "Mixup in the paper: 30.00 %" in texts(near, "title")
    far = draw_charts([replace(row, published=1.0) for row in rows])[0]
    assert "paper" not in far.caption + far.svg
    single = draw_charts([replace(row, runs=row.runs[:1]) for row in rows])
    assert single[2].caption == "Test error over the epochs."
    assert "different machines" not in single[1].caption
    other = replace(rows[1].runs[0], record={**rows[1].runs[0].record, "environment": {"processor": "Another"}})
    assert "different machines" in draw_charts([rows[0], replace(rows[1], runs=(other,))])[1].caption


def test_of_many_rows_the_baseline_and_the_best_have_an_area(make: Make, tmp_path: Path) -> None:
    for seed in (0, 1):
        for number, label in enumerate(("baseline", "cutmix", "mixup", "manifold_mixup", "alignmixup")):
            make(label, seed, [60.0, 30.0 - number + seed])
    chart = draw_charts(build_rows(find_runs([tmp_path])))[2]
    assert "areas (baseline and lowest error): smallest to largest" in chart.caption
    assert set(re.findall(r"fill: var\(--(\w+)\); fill-opacity: 0.15", chart.svg)) == {"s0", "s4"}


def test_one_epoch_has_no_curves(make: Make) -> None:
    assert len(draw_charts(build_rows(find_runs([make("mixup", 0, [30.0])])))) == 2


def test_reliability_is_a_chart_a_row_and_runs_with_other_bins_stand_apart(rows: list[Row]) -> None:
    def measured(counts: list[int], accuracy: list[float], ece: float) -> dict[str, object]:
        edges = [place / len(counts) for place in range(len(counts) + 1)]
        bins = {"edges": edges, "counts": counts, "accuracy": accuracy, "confidence": accuracy}
        means = {"mean_confidence_percent": 50.0, "accuracy_percent": 50.0}
        return {"calibration": {"ece_percent": ece, "reliability": bins, **means}}

    assert draw_reliabilities(rows) == []
    evaluations = [measured([0, 30], [0.0, 1.0], 5.0), measured([0, 10], [0.0, 0.2], 7.0)]
    runs = tuple(replace(run, evaluation=one) for run, one in zip(rows[0].runs, evaluations, strict=True))
    (chart,) = draw_reliabilities([replace(rows[0], runs=runs), rows[1]])
    assert chart.caption == "Baseline. ECE 5.00, 7.00 % (2 runs)."
    assert "var(--s1)" in chart.svg
    assert set(re.findall(r"var\(--(\w+)\)", chart.svg)) <= set(LIGHT)
    finer = replace(runs[1], evaluation=measured([0, 10, 0], [0.0, 0.2, 0.0], 7.0))
    assert [one.caption for one in draw_reliabilities([replace(rows[0], runs=(runs[0], finer))])] == [
        "Baseline. ECE 5.00 % (1 run).",
        "Baseline. ECE 7.00 % (1 run).",
    ]
