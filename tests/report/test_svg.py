"""Axes and marks."""

import xml.etree.ElementTree as ET

import pytest

from alignmixup.report.svg import Scale, fit_scale, plot, row_plot


def test_a_scale_maps_its_ends_and_middle() -> None:
    linear, log = Scale(0, 10, 100, 200), Scale(1, 100, 100, 200, log=True)
    assert [linear(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [round(log(value)) for value in (1, 10, 100)] == [100, 150, 200]


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (2.9, 3.52, False, [2.9, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5]),
        (-1, 1, False, [-1, -0.5, 0, 0.5, 1]),
        (1, 1000, True, [1, 10, 100, 1000]),
        (3, 40, True, [3, 5, 7, 10, 15, 20, 30]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 1, log=log).ticks() == ticks


def test_an_axis_shows_every_value() -> None:
    for values in ([3.0], [0.0], [0.0, 0.0], [-1.0, 5.0], [90.0, 91.0], [0.01, 100.0]):
        for log in (False, True):
            scale = fit_scale(values, 0, 100, log=log)
            assert scale.low <= min(values) <= max(values) <= scale.high
            assert scale.log == (log and min(values) > 0 and max(values) / min(values) >= 4)
            assert scale.ticks()
    assert fit_scale([0.1, 5.0], 0, 100).low == 0  # an axis near zero begins there


def test_marks_are_valid_svg_with_escaped_texts() -> None:
    chart = plot([1, 2], [3, 4], x_label="x < 1", y_label="y", title='a "title" & more')
    chart.line([(1, 3), (2, 4)], 0)
    chart.band([(1, 3, 3.5), (2, 3.5, 4)], 11)
    chart.dot(1, 3, 1, title="<dot>", faint=True)
    chart.diamond(2, 4, title="paper")
    chart.bar((1, 1), (3, 4), 2)
    chart.area((1, 2), (3, 4), 3)
    chart.text(10, 10, "name")
    root = ET.fromstring(chart.render())
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "title" & more')
    assert [e.text for e in root.iter("title")] == ["<dot>", "paper"]
    assert root.find("polygon").get("class") == "band s1 again"  # type: ignore[union-attr]
    assert "x < 1" in [e.text for e in root.iter("text")]


def test_rows_stand_in_order_from_the_top() -> None:
    chart = row_plot([1.0, 2.0], ["first", "second"], x_label="", title="")
    assert chart.y(0) < chart.y(1) < chart.height
    texts = [e.text for e in ET.fromstring(chart.render()).iter("text")]
    assert texts.index("first") < texts.index("second")
