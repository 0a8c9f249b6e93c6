"""Groups of runs and what is refused; the figures are looked at in test_localize."""

import pytest
import torch

from alignmixup.cli.localize_report import print_tables, write_report
from alignmixup.evaluation.localization.protocols import tabulate_centre
from alignmixup.runs.localize import count_boxes
from alignmixup.runs.localize_maps import StoredMaps

BOXES, SIZES = [torch.tensor([[2, 2, 5, 5]])], torch.tensor([[8, 8]])


def record(run, **more):
    counted = count_boxes(tabulate_centre(BOXES, SIZES), ("largest", "all"), 0.1)
    return {"run": run, "method": "cutmix", "data": "cub", "images": 1} | counted | more


def test_groups_are_by_name_and_model(tmp_path, capsys):
    records = [
        record("a/cutmix-seed0", model="resnet", seed=0),
        record("a/cutmix-seed1", model="resnet", seed=1),
        record("b/cutmix-seed0", model="vgg", seed=0),
    ]
    boxes = StoredMaps(records[0], BOXES, SIZES)
    results = write_report(records, boxes, [], tmp_path / "new", step=0.1)
    assert [(group["name"], group["seeds"]) for group in results["groups"]] == [
        ("cutmix, resnet", [0, 1]),
        ("cutmix, vgg", [0]),
    ]
    assert results["groups"][0]["spread"]["max_box_acc.largest"] == 0
    assert results["groups"][1]["spread"]["max_box_acc.largest"] is None
    print_tables(results)
    lines = capsys.readouterr().out.splitlines()
    assert any("centred box" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_runs_on_different_images_are_refused(tmp_path):
    records = [record("a"), record("b", images=2)]
    with pytest.raises(ValueError, match="the runs are on different images"):
        write_report(records, StoredMaps(records[0], BOXES, SIZES), [], tmp_path, step=0.1)
