"""Score maps with their boxes, and accuracy over the threshold."""

import itertools

import numpy as np
from PIL import Image

from alignmixup.figures.score_maps import MapRow, draw_boxes, draw_threshold_curves


def shares(path, *colours):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    return [(abs(pixels - colour).max(1) < 40).mean() for colour in colours]


def test_boxes_are_told_apart_without_red_and_green(tmp_path):
    images = np.zeros((3, 40, 40, 3))
    truth = [np.array([[5, 5, 20, 20]])] * 3
    boxes = np.array([[6, 6, 21, 21], [0, 0, 39, 39], [25, 25, 30, 30]])
    row = MapRow("cutmix", np.zeros((3, 40, 40)), boxes, [0.8, 0.2, 0.0], [True, False, True])
    draw_boxes(images, truth, [row], tmp_path / "boxes.png", captions=["a", "b", "c"])
    truth, hit, missed = shares(tmp_path / "boxes.png", (255, 255, 255), (34, 119, 211), (181, 60, 10))
    assert truth > 0.005
    assert hit > 0.001
    assert missed > 0.001


def test_names_of_rows_do_not_touch(tmp_path, drawn):
    images, truth = np.zeros((2, 40, 40, 3)), [np.array([[5, 5, 20, 20]])] * 2
    boxes, name = np.array([[6, 6, 21, 21]] * 2), "manifold_mixup,layer=blocks.4\nthreshold 0.33"
    row = MapRow(name, np.zeros((2, 40, 40)), boxes, [0.8, 0.2], [True, True])
    draw_boxes(images, truth, [row] * 3, tmp_path / "boxes.png", captions=["a", "b"])
    places = [axes.yaxis.label.get_window_extent() for axes in drawn[0].axes if axes.get_ylabel()]
    assert len(places) == 4
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(places))
    assert min(place.x0 for place in places) >= 0


def test_a_line_for_each_result_and_a_panel_for_each_choice(tmp_path, drawn):
    def result(value, **more):
        curves = {which: {level: [value, value / 2] for level in ("0.3", "0.5")} for which in ("largest", "all")}
        return {"name": f"level {value}", "thresholds": [0.0, 0.5], "curves": curves, **more}

    draw_threshold_curves([result(80.0), result(40.0, is_baseline=True)], tmp_path / "curves.png", title="title")
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels][::3] == ["largest contour, IoU ≥ 0.3", "all contours, IoU ≥ 0.5"]
    for axes in panels:
        legend = axes.get_legend().get_window_extent()
        highest = axes.transData.transform((0, max(max(line.get_ydata()) for line in axes.lines)))[1]
        assert legend.y0 > highest  # covers no curve
        lines = {line.get_label(): line for line in axes.lines if len(line.get_xdata()) > 1}
        assert {label: list(line.get_ydata()) for label, line in lines.items()} == {
            "level 80.0 80.0": [80.0, 40.0],
            "level 40.0 40.0": [40.0, 20.0],
        }
        assert [line.is_dashed() for line in lines.values()] == [False, True]
