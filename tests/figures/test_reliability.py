"""Reliability diagrams: pooled bins by hand, and files."""

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
def test_writes_a_png(tmp_path, methods):
    found = bins([0, 4, 6], [0.0, 0.5, 0.9], [0.0, 0.6, 0.7])
    measures = {"ece_percent": 12.0, "mean_confidence_percent": 74.0, "accuracy_percent": 66.0}
    result = {"calibration": {"reliability": found, **measures}}
    draw_reliability({f"method {k}": [result] * (1 + k % 2) for k in range(methods)}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
