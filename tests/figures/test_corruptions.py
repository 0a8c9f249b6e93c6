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


def blue_share(path):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    return (pixels[:, 2] - pixels[:, 0] > 60).mean()


def test_higher_errors_make_larger_bars(tmp_path):
    draw_corruptions({"a": result(fog=[10, 20], snow=[80, 90])}, tmp_path / "a.png")
    draw_corruptions({"a": result(fog=[80, 90], snow=[80, 90])}, tmp_path / "b.png", title="title")
    assert blue_share(tmp_path / "b.png") > 1.4 * blue_share(tmp_path / "a.png") > 0
    draw_corruptions({name: result(fog=[10, 20], snow=[80, 90]) for name in "abc"}, tmp_path / "c.png")


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
