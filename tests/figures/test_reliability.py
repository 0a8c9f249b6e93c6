"""Reliability diagrams: pooled bins by hand, and what is drawn of them."""

import pytest

from alignmixup.figures.reliability import draw_reliability, pool


def bins(counts, confidence, accuracy):
    edges = [place / len(counts) for place in range(len(counts) + 1)]
    return {"edges": edges, "counts": counts, "confidence": confidence, "accuracy": accuracy}


def test_runs_are_pooled_by_their_images():
    edges, share, confidence, accuracy = pool([bins([1, 3], [0.2, 0.8], [0.0, 1.0]), bins([0, 1], [0.0, 0.6], [0, 0])])
    assert edges == [0, 0.5]
    assert share == [0.2, 0.8]
    assert confidence == pytest.approx([0.2, (3 * 0.8 + 0.6) / 4])
    assert accuracy == pytest.approx([0, 0.75])


@pytest.mark.parametrize("methods", [1, 5])
def test_bars_are_the_accuracy_of_the_bins_that_hold_images(tmp_path, drawn, methods):
    found = bins([0, 4, 6], [0.0, 0.5, 0.9], [0.0, 0.6, 0.7])
    measures = {"ece_percent": 12.0, "mean_confidence_percent": 74.0, "accuracy_percent": 66.0}
    result = {"calibration": {"reliability": found, **measures}}
    draw_reliability({f"method {k}": [result] * (1 + k % 2) for k in range(methods)}, tmp_path / "a.png")
    shown = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert len(shown) == 2 * methods
    top = next(axes for axes in shown if axes.get_title().startswith("method 0"))
    assert top.get_title() == "method 0\nECE 12.00 %"
    accuracy, gap = top.containers
    assert [bar.get_height() for bar in accuracy] == pytest.approx([0.6, 0.7])
    assert [(bar.get_y(), bar.get_height()) for bar in gap] == [
        (0.5, pytest.approx(0.1)),
        (pytest.approx(0.7), pytest.approx(0.2)),
    ]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()][-2:] == ["accuracy", "gap to confidence"]
    if methods > 1:
        assert any(axes.get_title() == "method 1, 2 runs\nECE 12.00 %" for axes in shown)
