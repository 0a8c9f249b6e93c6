"""Errors of several methods, and their cost."""

from pathlib import Path
from typing import Any

import pytest

from alignmixup.figures.comparison import draw_comparison, draw_cost


def method(
    name: str, errors: list[float], spread: float | None, *, seconds: float = 90.0, **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "seeds": list(range(len(errors))),
        "runs": [{"last10_error_percent": error} for error in errors],
        "mean": {"last10_error_percent": sum(errors) / len(errors), "seconds": seconds},
        "spread": {"last10_error_percent": spread},
        **more,
    }


def tooltips(axes: Any) -> dict[str, list[float]]:
    return {line.get_gid(): list(line.get_xdata()) for line in axes.lines if line.get_gid()}


def test_every_run_is_a_point_and_every_method_a_line(tmp_path: Path, drawn: list[Any]) -> None:
    methods = [method("a", [1.0, 2.0], 0.5), method("b" * 60, [3.0], None)]
    draw_comparison({"data": "digits", "methods": methods}, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert axes.get_title() == "digits"
    assert tooltips(axes) == {
        "a, seed 0: 1.00 %": [1.0],
        "a, seed 1: 2.00 %": [2.0],
        f"{'b' * 60}, seed 0: 3.00 %": [3.0],
    }
    assert [list(line.get_xdata()) for line in axes.lines if not line.get_gid()] == [[1.0, 2.0], [1.5, 1.5], [3.0, 3.0]]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[1].replace("\n", "")) == ("a", "b" * 60)
    assert axes.get_yticks()[0] < axes.get_yticks()[1] < axes.get_ylim()[0]  # from the top


@pytest.mark.parametrize(("reported", "shown"), [(18.0, True), (2.0, False), (None, False)])
def test_the_papers_number_is_drawn_where_it_does_not_stretch_the_axis(
    tmp_path: Path, drawn: list[Any], reported: float | None, shown: bool
) -> None:
    draw_comparison(
        {"data": "", "methods": [method("a", [20.0], None, published_error_percent=reported)]}, tmp_path / "a.png"
    )
    assert ("a in the paper: 18.00 %" in tooltips(drawn[0].axes[0])) == shown
    assert ("diamonds" in drawn[0].get_supxlabel()) == shown


@pytest.mark.parametrize(
    ("seconds", "unit", "scale"),
    [
        ((30.0, 90.0), "seconds", "linear"),
        ((60.0, 600.0), "minutes", "log"),
        ((7200.0, 9000.0), "hours", "linear"),
        ((0.0, 1.0), "seconds", "linear"),
    ],
)
def test_cost_has_a_fitting_unit(
    tmp_path: Path, drawn: list[Any], seconds: tuple[float, ...], unit: str, scale: str
) -> None:
    methods = [method(f"m{number}", [20.0 + number], None, seconds=time) for number, time in enumerate(seconds)]
    draw_cost(methods, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_xscale()) == (f"{unit} of a run", scale)
    assert [name.split(":")[0] for name in tooltips(axes)] == ["m0", "m1"]
    assert {text.get_text() for text in axes.texts} == {"m0", "m1"}
