"""The pictures of corruptions."""

import pytest

from alignmixup.figures.robustness import draw_corruptions


def result(**kinds):
    means = {kind: sum(errors) / len(errors) for kind, errors in kinds.items()}
    return {
        "kinds": list(kinds),
        "severities": [1, 5],
        "clean_error_percent": 10.0,
        "error_percent": kinds,
        "kind_error_percent": means,
        "mean_error_percent": sum(means.values()) / len(means),
    }


def test_bars_are_the_means_and_lines_the_severities(tmp_path, drawn):
    draw_corruptions(
        {"a": result(fog=[10, 20], snow=[80, 90]), "b": result(fog=[30, 40], snow=[0, 0])}, tmp_path / "a.png"
    )
    (axes,) = drawn[0].axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[15, 85], [35, 0]]
    assert [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "_"] == [
        [10, 20],
        [80, 90],
        [30, 40],
        [0, 0],
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fog", "snow"]
    (legend,) = drawn[0].legends
    assert legend.get_texts()[0].get_text() == "a: mean 50.0 %, clean 10.0 %"


def test_no_two_bars_look_alike(tmp_path, drawn):
    draw_corruptions({f"method {n}": result(fog=[10, 20]) for n in range(20)}, tmp_path / "a.png")
    looks = {(bars[0].get_facecolor(), bars[0].get_hatch()) for bars in drawn[0].axes[0].containers}
    assert len(looks) == 20


def test_runs_must_have_the_same_kinds(tmp_path):
    for runs in ({}, {"a": result(fog=[1, 2]), "b": result(snow=[1, 2])}):
        with pytest.raises(ValueError, match="same corruptions, at least one"):
            draw_corruptions(runs, tmp_path / "a.png")
