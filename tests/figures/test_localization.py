"""The figures show what they are given."""

import numpy as np
from PIL import Image

from alignmixup.figures.localization import MapRow, draw_boxes, draw_threshold_curves


def shares(path, *colours):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    return [(abs(pixels - colour).max(1) < 40).mean() for colour in colours]


def test_boxes_are_green_red_and_orange(tmp_path):
    images = np.zeros((3, 40, 40, 3))
    truth = [np.array([[5, 5, 20, 20]])] * 3
    boxes = np.array([[6, 6, 21, 21], [0, 0, 39, 39], [25, 25, 30, 30]])
    row = MapRow("cutmix", np.zeros((3, 40, 40)), boxes, [0.8, 0.2, 0.0], [True, False, True])
    draw_boxes(images, truth, [row], tmp_path / "boxes.png", captions=["a", "b", "c"])
    green, red, orange = shares(tmp_path / "boxes.png", (50, 205, 50), (255, 0, 0), (255, 140, 0))
    assert green > 0.005
    assert red > 0.001
    assert orange > 0.001


def test_a_line_for_each_result_and_a_panel_for_each_choice(tmp_path):
    def result(value, **more):
        curves = {which: {level: [value, value / 2] for level in ("0.3", "0.5")} for which in ("largest", "all")}
        return {"name": f"level {value}", "thresholds": [0.0, 0.5], "curves": curves, **more}

    draw_threshold_curves([result(80.0), result(40.0, is_baseline=True)], tmp_path / "curves.png", title="title")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1050, 900)
    blue, black = shares(tmp_path / "curves.png", (31, 119, 180), (0, 0, 0))
    assert blue > 0.001
    assert black > 0.002
