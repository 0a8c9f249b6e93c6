"""Box accuracies: vectors made by running the evaluator of 2020, and its definitions by hand.

The golden maps are stored as second differences (modulo 256), which compress to half.
"""

import numpy as np
import pytest
import torch

from alignmixup.evaluation.localization import box_accuracy as localization
from alignmixup.evaluation.localization.box_accuracy import box_accuracy, count_accuracy, count_hits, tabulate_boxes
from alignmixup.evaluation.localization.protocols import top1_localization

PUBLISHED = {"largest": "single", "all": "multi"}


@pytest.fixture
def vectors(golden):
    arrays = golden("wsol_maxboxacc")
    rows = np.cumsum(arrays["map_differences"], axis=1, dtype=np.uint8)
    arrays["maps"] = arrays["levels"][np.cumsum(rows, axis=2, dtype=np.uint8)]
    arrays["boxes"] = [own[:count] for own, count in zip(arrays["gt_boxes"], arrays["num_gt"], strict=True)]
    return arrays


@pytest.mark.parametrize("native", [True, False])
def test_golden(vectors, native, monkeypatch):
    monkeypatch.setattr(localization, "tabulates_natively", lambda: native)
    table = tabulate_boxes(vectors["maps"], vectors["boxes"], vectors["image_sizes"])
    for contours, name in PUBLISHED.items():
        result = count_accuracy(table, contours=contours)
        np.testing.assert_allclose(result.best_iou.numpy(), vectors[f"best_iou_{name}"], rtol=0, atol=1e-7)
        np.testing.assert_array_equal(result.curves.numpy(), vectors[f"curves_{name}"])
        np.testing.assert_array_equal(result.max_box_acc_at.numpy(), vectors[f"max_box_acc_{name}"])
        assert result.max_box_acc_v2 == pytest.approx(float(vectors[f"mean_over_iou_{name}"]), abs=1e-12)
    cuts = table.cuts(result.thresholds)
    first = table.largest.gather(1, cuts[:, :, None].expand(-1, -1, 4))
    np.testing.assert_array_equal(first.numpy(), vectors["first_box_single"])
    np.testing.assert_array_equal(table.counts.gather(1, cuts).numpy(), vectors["num_boxes_multi"])


def test_golden_published_pair_in_single_precision_and_piece_by_piece(vectors):
    maps = vectors["maps"].astype(np.float32)
    arguments = (vectors["boxes"], torch.from_numpy(vectors["image_sizes"].astype(np.int64)))
    assert box_accuracy(iter(maps), *arguments, contours="largest").max_box_acc == float(vectors["MaxBoxAcc"])
    result = box_accuracy((maps[start : start + 7] for start in range(0, 40, 7)), *arguments)
    assert result.contours == "all"
    assert result.max_box_acc_v2 == pytest.approx(float(vectors["MaxBoxAccV2"]), abs=1e-12)


def test_golden_top1(vectors):
    table = tabulate_boxes(vectors["maps"], vectors["boxes"], vectors["image_sizes"])
    correct = torch.from_numpy(vectors["class_correct"])
    for contours, name in PUBLISHED.items():
        result = count_accuracy(table, contours=contours)
        curve = count_hits(table, result.thresholds, contours=contours, iou=[0.5], correct=correct)[0]
        np.testing.assert_allclose(curve.numpy(), vectors[f"top1_curve_{name}"], rtol=1e-15)
        best = float(result.thresholds[int(vectors[f"gtknown_best_index_{name}"])])
        assert result.best_thresholds[1] == best
        top1 = top1_localization(table, correct, contours=contours)
        assert top1["max-top1"] == vectors[f"top1_max_{name}"]
        assert top1["at-gtknown-best"] == vectors[f"top1_at_gtknown_best_{name}"]
        assert top1["fixed-0.15"] == vectors[f"top1_sigma015_{name}"]


def block(size=8):
    """A map whose box is (2, 2, 5, 5) at every threshold, and a box that it matches by 0.5 exactly."""
    score_map = torch.zeros(1, size, size)
    score_map[0, 2:5, 2:5] = 0.7
    return score_map, [torch.tensor([[2, 2, 3, 5]])]


def test_a_match_of_exactly_the_level_counts():
    maps, boxes = block()
    result = box_accuracy(maps, boxes, [(8, 8)])
    assert result.best_iou.unique().tolist() == [0.5]
    assert result.max_box_acc_at.tolist() == [100, 100, 0]
    assert result.max_box_acc == 100
    assert result.max_box_acc_v2 == pytest.approx(200 / 3)
    assert result.best_thresholds.tolist() == [0, 0, 0]


def test_each_level_has_its_own_threshold_and_all_images_share_it():
    # image 0 is matched above half of its maximum alone, image 1 below it alone
    maps = torch.zeros(2, 8, 8, dtype=torch.float64)
    maps[:, :, :] = 0.5
    maps[:, 2:5, 2:5] = 1
    boxes = [torch.tensor([[2, 2, 5, 5]]), torch.tensor([[0, 0, 7, 7]])]
    result = box_accuracy(maps, boxes, [(8, 8)] * 2, contours="largest")
    assert result.max_box_acc_at.tolist() == [50, 50, 50]
    assert result.curves[1, [0, 499, 999]].tolist() == [50, 50, 50]
    assert result.best_iou[:, 0].tolist() == [0.25, 1.0]
    assert result.best_iou[:, 999].tolist() == [1.0, 0.25]


def test_other_levels_and_steps():
    maps, boxes = block()
    result = box_accuracy(maps, boxes, [(8, 8)], step=0.25, iou=(0.4, 0.6))
    assert result.thresholds.tolist() == [0, 0.25, 0.5, 0.75]
    assert result.curves.tolist() == [[100] * 4, [0] * 4]
    assert result.max_box_acc == 100  # at 0.5, which is not among the levels
    assert result.max_box_acc_v2 == 50


def test_boxes_are_in_pixels_of_the_original_image():
    maps, _ = block()
    assert box_accuracy(maps, [torch.tensor([[50, 8, 149, 23]])], [(200, 32)]).best_iou[0, 0] == 16 / 16


def test_more_or_fewer_maps_than_boxes():
    maps, boxes = block()
    with pytest.raises(ValueError, match="there are 1 score maps for the boxes of 2 images"):
        box_accuracy(maps, boxes * 2, [(8, 8)] * 2)
    with pytest.raises(ValueError, match="there are more score maps for the boxes of 1 images"):
        box_accuracy([maps[0]] * 300, boxes, [(8, 8)])
    with pytest.raises(ValueError, match="there are 0 score maps for the boxes of 1 images"):
        box_accuracy([], boxes, [(8, 8)])


def test_options_are_refused_before_the_work():
    maps, boxes = block()
    for options, message in (
        ({"contours": "some"}, 'contours must be "all" or "largest", got \'some\''),
        ({"iou": ()}, "iou must hold levels"),
        ({"iou": (30, 50)}, r"iou must hold levels in \(0, 1\], got \(30, 50\)"),
        ({"step": 0}, "step must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            box_accuracy(maps * 9, boxes, [(8, 8)], **options)
