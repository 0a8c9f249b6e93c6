"""Localisation: what needs no network, maps from files, groups of runs; networks are localised in tests/cli."""

import numpy as np
import pytest
import torch

from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.protocols import tabulate_centre
from alignmixup.runs.localization import Localization, count_boxes
from alignmixup.runs.localization_report import write_report
from alignmixup.runs.plan import LocalizationProtocol
from alignmixup.runs.stored.maps import score_stored_maps


def test_numbers_are_those_of_the_library():
    score_map = torch.zeros(1, 8, 8)
    score_map[0, 2:5, 2:5] = 1
    table = tabulate_boxes(score_map, [torch.tensor([[2, 2, 3, 5]])], [(8, 8)])
    counted = count_boxes(table, ("largest", "all"), 0.1)
    assert list(counted["contours"]) == ["largest", "all"]
    expected = count_accuracy(table, contours="all", step=0.1)
    numbers = counted["contours"]["all"]
    assert numbers["max_box_acc_percent"] == expected.max_box_acc == 100
    assert numbers["max_box_acc_v2_percent"] == pytest.approx(expected.max_box_acc_v2)
    assert numbers["at_iou_percent"] == {"0.3": 100, "0.5": 100, "0.7": 0}
    assert numbers["best_threshold_at_iou"] == {"0.3": 0, "0.5": 0, "0.7": 0}
    assert counted["curves_percent"]["all"]["0.5"] == [100] * 10


def test_a_perfect_map(tmp_path):
    score_map = np.zeros((20, 40), dtype=np.float32)
    score_map[4:9, 10:20] = 1
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "b.jpg.npy", score_map)
    (tmp_path / "localization.txt").write_text("a/b.jpg,50,20,100,45\n")
    (tmp_path / "image_sizes.txt").write_text("a/b.jpg,200,100\n")
    stored = score_stored_maps(tmp_path, tmp_path, None, protocol=LocalizationProtocol(contours="largest", step=0.1))
    assert stored.record["contours"]["largest"]["max_box_acc_v2_percent"] == 100
    assert stored.boxes[0].tolist() == [[50, 20, 100, 45]]
    assert stored.sizes.tolist() == [[200, 100]]


def test_a_missing_map(tmp_path):
    (tmp_path / "boxes.csv").write_text("a/b.jpg,1,2,3,4\n")
    with pytest.raises(ValueError, match="name the folder of the images with --images"):
        score_stored_maps(
            tmp_path, tmp_path / "boxes.csv", None, protocol=LocalizationProtocol(contours="largest", step=0.1)
        )


BOXES, SIZES = [torch.tensor([[2, 2, 5, 5]])], torch.tensor([[8, 8]])


def record(run, **more):
    counted = count_boxes(tabulate_centre(BOXES, SIZES), ("largest", "all"), 0.1)
    return {"run": run, "method": "cutmix", "data": "cub", "images": 1} | counted | more


def test_groups_are_by_name_and_model(tmp_path):
    records = [
        record("a/cutmix-seed0", model="resnet", seed=0),
        record("a/cutmix-seed1", model="resnet", seed=1),
        record("b/cutmix-seed0", model="vgg", seed=0),
    ]
    measured = [Localization(record, BOXES, SIZES) for record in records]
    results = write_report(measured, tmp_path / "new", step=0.1)
    assert [(group["name"], group["seeds"]) for group in results["groups"]] == [
        ("cutmix, resnet", [0, 1]),
        ("cutmix, vgg", [0]),
    ]
    assert results["groups"][0]["spread"]["max_box_acc.largest"] == 0
    assert results["groups"][1]["spread"]["max_box_acc.largest"] is None


def test_runs_on_different_images_are_refused(tmp_path):
    measured = [Localization(record("a"), BOXES, SIZES), Localization(record("b", images=2), BOXES, SIZES)]
    with pytest.raises(ValueError, match="the runs are on different images"):
        write_report(measured, tmp_path, step=0.1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"limit": 0}, "--limit must be >= 1 or None, got 0"),
        ({"resize": 0}, "--resize must be >= 1 or None, got 0"),
        ({"pictures": -1}, r"--pictures must be in \[0, 100\], got -1"),
        ({"step": 0}, "step must be in"),
        ({"cam": "cam", "layer": "stage3"}, "--layer is for Grad-CAM"),
    ],
)
def test_what_cannot_be_asked(asked, message):
    with pytest.raises(ValueError, match=message):
        LocalizationProtocol(**asked)
