"""Charts from rows."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alignmixup.report.charts import draw_all, draw_cost, draw_curves, draw_errors, draw_reliability, legend
from alignmixup.report.rows import Row, build_rows
from alignmixup.report.runs import find_runs

Make = Callable[..., Path]


@pytest.fixture
def rows(make: Make, tmp_path: Path) -> list[Row]:
    for seed in (0, 1):
        make("baseline", seed, [60.0, 30.0 + seed, 20.0 + seed])
    make("mixup", 0, [50.0, 25.0, 18.0])
    return build_rows(find_runs([tmp_path]))


def test_every_run_is_a_point_and_every_row_a_colour(rows: list[Row]) -> None:
    drawn = draw_errors(rows)
    assert drawn.count("<circle") == 3
    assert "Baseline, seed 1: 37.33 %" in drawn  # (60 + 31 + 21) / 3
    assert "paper" not in drawn
    assert re.findall(r"</svg>(\w+)</li>", legend(rows)) == ["Baseline", "Mixup"]
    assert draw_all(rows).count("<figure>") == 4


def test_long_names_take_two_lines_and_crowded_ones_are_left_to_the_legend(make: Make, tmp_path: Path) -> None:
    for number in range(30):
        make(f"mixup,optimizer={number},schedule=a_long_name,another=value", 0, [30.0], name="digits/mixup")
    drawn = build_rows(find_runs([tmp_path]))
    errors, cost = draw_errors(drawn), draw_cost(drawn)
    lines = re.findall(r'<text class="label"[^>]*>([^<]*)</text>', errors)
    assert len(lines) == 60
    assert max(map(len, lines)) <= 25
    assert all(line.endswith("…") for line in lines[1::2])
    assert 1 <= cost.count('<text class="label"') < 30  # all are at one point


def test_the_papers_number_is_drawn_where_it_is_near(rows: list[Row]) -> None:
    assert draw_errors([replace(row, published=30.0) for row in rows]).count("<path") == 2
    assert "<path" not in draw_errors([replace(row, published=1.0) for row in rows])


def test_the_cost_says_its_unit(rows: list[Row]) -> None:
    drawn = draw_cost(rows)
    assert "seconds of a run" in drawn  # 90 s
    assert "Mixup: 31.00 % in 90 seconds" in drawn
    assert "different machines" not in drawn


def test_curves_have_a_line_a_row_and_an_area_for_several_runs(rows: list[Row]) -> None:
    errors, losses = draw_curves(rows)
    assert (errors.count("<polyline"), errors.count("<polygon")) == (2, 1)
    assert "training loss" in losses
    assert draw_curves([replace(rows[0], runs=rows[0].runs[:1])])[0].count("<polygon") == 0


def test_long_curves_are_thinned_and_keep_their_end(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [100.0 / (epoch + 1) for epoch in range(1999)])
    drawn = draw_curves(build_rows(find_runs([tmp_path])))[0]
    points = re.search(r'<polyline[^>]*points="([^"]*)"', drawn)
    assert points is not None
    assert 200 < len(points[1].split()) < 300


def test_reliability_pools_the_runs_of_a_row(rows: list[Row]) -> None:
    def measured(counts: list[int], accuracy: list[float], ece: float) -> dict[str, object]:
        bins = {"edges": [0.0, 0.5, 1.0], "counts": counts, "accuracy": accuracy, "confidence": [0.4, 0.8]}
        return {"calibration": {"ece_percent": ece, "reliability": bins}}

    assert draw_reliability(rows) == ""
    first = replace(rows[0].runs[0], evaluation=measured([0, 30], [0.0, 1.0], 5.0))
    second = replace(rows[0].runs[1], evaluation=measured([0, 10], [0.0, 0.2], 7.0))
    drawn = draw_reliability([replace(rows[0], runs=(first, second)), rows[1]])
    assert drawn.count("<rect") == 1  # the empty bin has no bar
    height = re.search(r'<rect[^>]*height="([\d.]+)"', drawn)
    assert height is not None
    assert float(height[1]) == pytest.approx(0.8 * 248, abs=0.06)  # (30 * 1 + 10 * 0.2) / 40 of the axis
    assert "ECE 5.00, 7.00 % (2 runs)" in drawn
