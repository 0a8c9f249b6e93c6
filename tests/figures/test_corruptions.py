"""The pictures of corruptions."""

import numpy as np
import pytest
import torch
from PIL import Image

from alignmixup.figures.corruptions import draw_corruption_grid, draw_corruptions


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


def test_runs_must_have_the_same_kinds(tmp_path):
    for runs in ({}, {"a": result(fog=[1, 2]), "b": result(snow=[1, 2])}):
        with pytest.raises(ValueError, match="same corruptions, at least one"):
            draw_corruptions(runs, tmp_path / "a.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_shows_all_kinds(tmp_path, channels):
    image = torch.zeros(channels, 16, 16, dtype=torch.uint8)
    image[0] = 255
    draw_corruption_grid(image, tmp_path / "grid.png", severity=1)
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (1125, 1020)  # five columns, four rows
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (pixels == (255, 0, 0)).all(axis=1).mean() > 0.01 or channels == 1
