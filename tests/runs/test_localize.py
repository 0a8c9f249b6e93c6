"""The parts of a run's measurement that need no run."""

import pytest
import torch

from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.runs.localize import count_boxes, spread


def test_indices_are_spread_evenly():
    assert spread(10, 10).tolist() == list(range(10))
    assert spread(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert spread(10, 3).tolist() == [0, 3, 6]
    assert spread(10, 0).tolist() == []


def test_numbers_are_those_of_the_library():
    score_map = torch.zeros(1, 8, 8)
    score_map[0, 2:5, 2:5] = 1
    table = tabulate_boxes(score_map, [torch.tensor([[2, 2, 3, 5]])], [(8, 8)])
    counted = count_boxes(table, ("largest", "all"), 0.1)
    assert list(counted["contours"]) == ["largest", "all"]
    expected = count_accuracy(table, contours="all", step=0.1)
    own = counted["contours"]["all"]
    assert own["max_box_acc_percent"] == expected.max_box_acc == 100
    assert own["max_box_acc_v2_percent"] == pytest.approx(expected.max_box_acc_v2)
    assert own["at_iou_percent"] == {"0.3": 100, "0.5": 100, "0.7": 0}
    assert own["best_threshold_at_iou"] == {"0.3": 0, "0.5": 0, "0.7": 0}
    assert counted["curves_percent"]["all"]["0.5"] == [100] * 10
