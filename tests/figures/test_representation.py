"""The picture of representations."""

import pytest

from alignmixup.figures.representation import draw_representation


def result(values, above, confidence, changes):
    return {
        "representation": {
            "spectrum": {"centred": {"values": values}},
            "errors": {"levels": [0.1, 0.5], "above_percent": above},
            "segments": {"confidence_percent": confidence},
            "steps": [
                {"step_255": step, "change_percent": change} for step, change in zip((1.0, 4.0), changes, strict=True)
            ],
        }
    }


def test_lines_are_means_over_runs_and_a_run_without_errors_leaves_the_others(tmp_path, drawn):
    first = result([0.4, 0.2, 0.0], [90.0, 40.0], [90.0, 50.0, 80.0], [1.0, 5.0])
    second = result([0.2, 0.1], None, [70.0, 30.0, 60.0], [3.0, 7.0])
    draw_representation({"a": [first, second], "b": [first]}, tmp_path / "a.png")
    spectrum, errors, between, around = drawn[0].axes
    assert list(spectrum.lines[0].get_ydata()) == pytest.approx([0.3, 0.15])
    assert list(spectrum.lines[1].get_ydata()) == [0.4, 0.2]  # the last of centred images is 0
    assert list(errors.lines[0].get_ydata()) == [90, 40]
    assert list(between.lines[0].get_xdata()) == [0, 0.5, 1]
    assert list(between.lines[0].get_ydata()) == [80, 40, 70]
    assert list(around.lines[0].get_ydata()) == [2, 6]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
