"""Boxes of score maps: hand-made cases of the published conventions, through both implementations."""

import shutil

import pytest
import torch

from alignmixup.evaluation.localization.contour_boxes import (
    CutTable,
    box_iou,
    join,
    scale_boxes,
    tabulate_by_opencv,
    tabulate_natively,
    thresholds,
)

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: OpenCV alone is tried here")
both = pytest.mark.parametrize("tabulate", [tabulate_by_opencv, pytest.param(tabulate_natively, marks=needs_compiler)])
ANY = torch.tensor([[0, 0, 1, 1]])


def levels(rows):
    return torch.tensor(rows, dtype=torch.uint8)[None]


def test_overlap_counts_both_corners():
    assert box_iou(torch.tensor([[1, 2, 5, 6]]), torch.tensor([[3, 1, 4, 5]])).item() == 8 / 27
    far = box_iou(torch.tensor([[0, 0, 0, 0]]), torch.tensor([[5, 5, 9, 9], [0, 0, 0, 0]]))
    assert far.tolist() == [[0.0, 1.0]]


def test_boxes_are_scaled_and_truncated():
    scaled = scale_boxes(torch.tensor([[1, 2, 4, 3]]), torch.tensor([[10, 20]]), (10, 35))
    assert scaled.tolist() == [[3, 1, 14, 1]]
    assert scale_boxes(torch.tensor([[0, 0, 63, 63]]), torch.tensor([[64, 64]]), (224, 224)).tolist() == [
        [0, 0, 220, 220]
    ]


def test_thresholds_are_multiples_below_one():
    assert len(thresholds(0.001)) == 1000
    assert thresholds(0.001)[150] == 0.15
    assert thresholds(0.3).tolist() == pytest.approx([0, 0.3, 0.6, 0.9])
    for step in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"step must be in \[0.0001, 1\], got"):
            thresholds(step)


@both
def test_the_published_example(tabulate):
    rows = [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]]
    table = tabulate((torch.tensor(rows, dtype=torch.float64)[None] * 255).to(torch.uint8), [ANY])
    found = [table.largest_at(threshold)[0].tolist() for threshold in (0, 0.2, 0.4, 0.6, 0.8)]
    assert found == [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]


@both
def test_empty_and_full_maps(tabulate):
    table = tabulate(torch.stack([torch.zeros(6, 8), torch.full((6, 8), 77)]).to(torch.uint8), [ANY, ANY])
    at = thresholds(0.01)
    assert all(table.largest_at(t).tolist() == [[0, 0, 0, 0], [0, 0, 7, 5]] for t in at.tolist())
    assert table.counts.gather(1, table.cuts(at)).eq(1).all()
    assert table.best_iou(at, "all")[0].tolist() == [0.25] * len(at)


@both
def test_a_hole_is_a_contour_and_its_box_the_pixels_around_it(tabulate):
    ring = torch.zeros(9, 9, dtype=torch.uint8)
    ring[1:8, 1:8] = 200
    ring[3:6, 3:6] = 0
    hole = torch.tensor([[2, 2, 7, 7]])  # pixels 2 to 6 around the hole, and one more to the right and below
    table = tabulate(ring[None], [hole])
    assert table.counts[0, 0] == 2
    assert table.best_all[0, 0] == 1
    assert table.best_largest[0, 0] == 36 / 64
    assert table.largest[0, 0].tolist() == [1, 1, 8, 8]


@both
def test_the_largest_is_by_polygon_area_and_the_lower_of_equals(tabulate):
    # a line of 6 pixels has no area; of two blocks of 2 x 2 the lower one counts
    rows = [[0] * 9 for _ in range(9)]
    for x in range(6):
        rows[0][x] = 9
    for y, x in ((3, 6), (3, 7), (4, 6), (4, 7), (6, 1), (6, 2), (7, 1), (7, 2)):
        rows[y][x] = 9
    table = tabulate(levels(rows), [ANY])
    assert table.largest[0, 0].tolist() == [1, 6, 3, 8]
    assert table.counts[0, 0] == 3


@both
def test_diagonal_pixels_hang_together_but_diagonal_holes_do_not(tabulate):
    assert tabulate(levels([[9, 0], [0, 9]]), [ANY]).counts[0, 0] == 1
    rows = [[9, 9, 9, 9], [9, 0, 9, 9], [9, 9, 0, 9], [9, 9, 9, 9]]
    assert tabulate(levels(rows), [ANY]).counts[0, 0] == 3


@both
def test_an_image_without_boxes_is_never_matched(tabulate):
    table = tabulate(levels([[9, 0], [0, 9]]), [torch.empty(0, 4, dtype=torch.int64)])
    assert table.best_all.max() == table.best_largest.max() == 0


def test_tables_are_joined_and_selected():
    one = tabulate_natively(levels([[1, 2], [3, 4]]), [ANY])
    two = join([one, one])
    assert isinstance(two, CutTable)
    assert len(two) == 2
    assert torch.equal(two.select(slice(1, 2)).best_all, one.best_all)


def test_without_opencv_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match="need a C compiler"):
        tabulate_by_opencv(levels([[1]]), [ANY])
