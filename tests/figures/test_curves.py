"""Loss and error over the epochs."""

from pathlib import Path
from typing import Any

import pytest

from alignmixup.figures.curves import draw_curves, draw_mean_curves, mean_curve


def record(errors: list[float | None], *, seed: int = 0) -> dict[str, Any]:
    curve = [
        {"epoch": epoch, "train_loss": 1.0 / (epoch + 1)} | ({} if error is None else {"error_percent": error})
        for epoch, error in enumerate(errors)
    ]
    metrics = {"best_error_percent": 0.0, "last10_error_percent": 10.0}
    config = {"method": {"name": "cutmix"}, "data": {"name": "digits"}}
    return {"curve": curve, "metrics": metrics, "config": config, "seed": seed}


def test_a_run_has_its_loss_and_the_errors_that_were_measured(tmp_path: Path, drawn: list[Any]) -> None:
    draw_curves(record([None, 20.0, 0.0]), tmp_path / "a.png")
    left, right = drawn[0].axes
    assert list(left.lines[0].get_xdata()) == [1, 2, 3]
    assert (list(right.lines[0].get_xdata()), list(right.lines[0].get_ydata())) == ([2, 3], [20.0, 0.0])
    assert right.get_yscale() == "linear"  # zero has no logarithm
    assert drawn[0].get_suptitle() == "cutmix on digits, seed 0"


@pytest.mark.parametrize("errors", [[5.0], [None]])
def test_one_epoch_can_be_drawn_measured_or_not(tmp_path: Path, errors: list[float | None]) -> None:
    draw_curves(record(errors), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_means_are_over_the_epochs_that_all_runs_have() -> None:
    runs = [record([60.0, 30.0, None]), record([50.0, 20.0, 10.0])]
    assert mean_curve(runs, "error_percent") == ([1, 2], [55.0, 25.0], [50.0, 20.0], [60.0, 30.0])


def test_methods_are_lines_with_names_and_the_chosen_have_an_area(tmp_path: Path, drawn: list[Any]) -> None:
    groups = [("a", [record([60.0, 30.0]), record([50.0, 10.0])]), ("b", [record([40.0, 30.0])])]
    draw_mean_curves(groups, "error_percent", tmp_path / "a.png", banded=[0])
    (axes,) = drawn[0].axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[55.0, 20.0], [40.0, 30.0]]
    assert len(axes.collections) == 1
    assert axes.collections[0].get_datalim(axes.transData).extents.tolist() == [1, 10, 2, 60]
    assert [text.get_text() for text in axes.texts] == ["b", "a"]


def test_many_methods_are_left_to_a_legend_and_long_curves_thinned(tmp_path: Path, drawn: list[Any]) -> None:
    groups = [(str(number), [record([100.0 / (epoch + 1) for epoch in range(1999)])]) for number in range(9)]
    draw_mean_curves(groups, "error_percent", tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert not axes.texts
    at = list(axes.lines[0].get_xdata())
    assert 200 < len(at) < 300
    assert (at[0], at[-1]) == (1, 1999)
    assert axes.get_yscale() == "log"
    assert [axes.lines[number].is_dashed() for number in (0, 7, 8)] == [False, False, True]
