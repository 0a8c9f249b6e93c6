"""Ticks that read well, names that touch nothing."""

import io
import itertools

import pytest
from matplotlib.text import Text

from alignmixup.figures.axes import count_along, fold, log_where_wide, name_ends, name_points, panels, show_image
from alignmixup.figures.save import drawing


def labels(axis):
    low, high = axis.get_view_interval()
    return axis.get_major_formatter().format_ticks([at for at in axis.get_majorticklocs() if low <= at <= high])


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([20, 90], "log"),
        ([2, 60], "log"),
        ([0.5, 90], "log"),
        ([49, 90], "linear"),
        ([0, 60], "linear"),
        ([-1, 5], "linear"),
        ([], "linear"),
    ],
)
def test_a_wide_axis_is_logarithmic_with_several_plain_numbers(which, values, scale):
    with drawing(io.StringIO(), width=4, height=3) as figure:
        axes = figure.subplots()
        axes.plot(values, values)
        log_where_wide(axes, which, values)
        assert getattr(axes, f"get_{which}scale")() == scale
        found = [float(label.replace("−", "-")) for label in labels(getattr(axes, f"{which}axis"))]
        assert len(found) >= 3


def test_counts_are_whole_numbers():
    with drawing(io.StringIO(), width=4, height=3) as figure:
        axes = figure.subplots()
        axes.plot([1, 2, 3], [1, 2, 3])
        count_along(axes, "epoch")
        assert axes.get_xlabel() == "epoch"
        assert {label.isdigit() for label in labels(axes.xaxis)} == {True}


def test_panels_and_images():
    with drawing(io.StringIO(), width=4, height=3) as figure:
        found = panels(figure, 5, columns=3)
        assert found == figure.axes
        assert len(found) == 5
        show_image(found[0], [[0, 1]], "text")
        assert (list(found[0].get_xticks()), found[0].get_xlabel()) == ([], "text")
        assert all(spine.get_visible() for spine in found[0].spines.values())  # a white image has its edge


def test_long_names_are_folded_and_cut():
    for name in ("AlignMixup, layer=stage3", "AlignMixup,layer=stage3"):
        assert fold(name, width=12) == "AlignMixup,\nlayer=stage3"
    cut = fold("word " + "x" * 100, width=10, lines=3)
    assert max(map(len, cut.splitlines())) == 10
    assert (len(cut.splitlines()), cut[-1]) == (3, "…")
    assert fold("Mixup") == "Mixup"


def boxes(axes):
    """Where the names stand, without their leaders."""
    return [Text.get_window_extent(text) for text in axes.texts]


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("ends", [[5, 5.01, 5.02, 5.005, 4.99], [1, 1.001, 1.002, 9], [3]])
def test_names_of_ends_stand_right_of_the_axes_in_order_and_apart(scale, ends):
    with drawing(io.StringIO(), width=4, height=3) as figure:
        axes = figure.subplots()
        for end in ends:
            axes.plot([0, 1], [2, end])
        axes.set_yscale(scale)
        name_ends(axes, [f"name {number}, long" for number in range(len(ends))])
        figure.draw_without_rendering()
        found = boxes(axes)
        frame = axes.get_window_extent()
        assert all(box.x0 > frame.x1 and box.x1 <= figure.bbox.x1 for box in found)
        assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))
        heights = {text.get_text(): box.y0 for text, box in zip(axes.texts, found, strict=True)}
        order = sorted(range(len(ends)), key=ends.__getitem__)
        assert sorted(heights, key=heights.__getitem__) == [f"name {number}, long" for number in order]


def test_names_of_points_touch_no_other_name_and_no_point():
    points = [(1 + 0.01 * number, 5 + 0.02 * number, f"crowd {number}") for number in range(12)]
    points += [(10, 1, "alone"), (10, 9, "a very long name of the right edge, cut")]
    with drawing(io.StringIO(), width=4, height=3) as figure:
        axes = figure.subplots()
        for x, y, _ in points:
            axes.plot(x, y, "o")
        name_points(axes, points)
        figure.draw_without_rendering()
        found = boxes(axes)
        assert (
            {"alone"}
            < {text.get_text() for text in axes.texts}
            < {*(name for *_, name in points), fold(points[-1][2], width=18)}
        )
        assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))
        at = [axes.transData.transform(point[:2]) for point in points]
        assert not any(box.contains(*place) for box in found for place in at)
        frame = axes.get_window_extent()
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1 for box in found)
