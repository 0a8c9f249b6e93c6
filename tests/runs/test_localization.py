"""Localisation: what needs no network, maps from files, groups of runs; networks are localised in tests/cli."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.untrained import write_run

from alignmixup import runs
from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.protocols import tabulate_centre
from alignmixup.runs.localization import (
    Localization,
    count_boxes,
    load_whole_images,
    measure_localization,
    on_unseen_images,
)
from alignmixup.runs.localization_report import check_together, grouped, reporting_to, write_report
from alignmixup.runs.options.localization import LocalizationProtocol
from alignmixup.runs.stored.maps import score_stored_maps
from alignmixup.training.build import load_data
from alignmixup.training.config_file import ConfigError, load


def test_one_process_only(tmp_path, monkeypatch):
    """The others would be shown their share of the images, or wait for the folder of the results."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for start in (lambda: measure_localization(None, LocalizationProtocol()), lambda: reporting_to(tmp_path)):
        with pytest.raises(ConfigError, match="a localisation runs in one process: start it without torchrun"):
            start()


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


def of(model, trained_on="", tested_on="", **options):
    configuration = {"model.name": model, **({"data.root": trained_on} if trained_on else {}), **options}
    return {"model": model, "configuration": configuration, "settings": {"images": tested_on or trained_on}}


def test_groups_are_by_name_and_configuration(tmp_path):
    records = [
        record("a/cutmix-seed0", **of("resnet"), seed=0),
        record("a/cutmix-seed1", **of("resnet"), seed=1),
        record("b/cutmix-seed0", **of("vgg"), seed=0),
    ]
    measured = [Localization(record, BOXES, SIZES) for record in records]
    results = write_report(measured, tmp_path / "new", step=0.1)
    assert [(group["name"], group["seeds"]) for group in results["groups"]] == [
        ("cutmix, model.name=resnet", [0, 1]),
        ("cutmix, model.name=vgg", [0]),
    ]
    assert results["groups"][0]["spread"]["max_box_acc.largest"] == 0
    assert results["groups"][1]["spread"]["max_box_acc.largest"] is None


def test_runs_of_one_name_are_averaged_only_where_they_differ_by_their_seed_alone():
    first = record("new/cutmix-seed0", **of("vgg", "cats#1", "new#3", **{"method.alpha": 1.0}), seed=0)
    alpha = record("old/cutmix-seed1", **of("vgg", "cats#1", "new#3", **{"method.alpha": 0.5}), seed=1)
    cars = record("old/cutmix-seed1", **of("vgg", "cars#2", "new#3", **{"method.alpha": 1.0}), seed=1)
    assert list(grouped([first, alpha])) == ["cutmix, method.alpha=1.0", "cutmix, method.alpha=0.5"]
    assert list(grouped([first, cars])) == ["cutmix, data.root=cats#1", "cutmix, data.root=cars#2"]
    with pytest.raises(ValueError, match="new/cutmix-seed0 and old/cutmix-seed0 are both cutmix with seed 0"):
        grouped([first, first | {"run": "old/cutmix-seed0"}])
    with pytest.raises(ValueError, match=r"on different images \(cub cars#2 1, cub cats#1 1\): measure one data set"):
        grouped([record("a", **of("vgg", "cats#1")), record("b", **of("vgg", "cars#2"))])


def run_on(folder, root, *settings):
    """A run that was never trained, on the images below ``root``."""
    small = ["data.name=folder", f"data.root={root}", "data.image_size=16", "data.workers=0", "model.in_channels=3"]
    config = load("digits/baseline", [*small, "model.width=2", "train.device=cpu", "train.threads=1", *settings])
    write_run(folder, config, load_data(on_unseen_images(config), test_only=True))
    return folder


def pictures(root, *splits):
    """Images of two classes, a folder each, below each split; the paths of all of them."""
    paths = [f"{split}/{name}/{n}.png".lstrip("./") for split in splits for name in ("cat", "dog") for n in range(4)]
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(root / path)
    return paths


@pytest.mark.parametrize(
    ("splits", "wanted"), [((".",), 4), (("train",), 4), (("train", "test"), 8)], ids=["flat", "train", "both"]
)
def test_images_that_trained_a_network_are_not_measured(tmp_path, splits, wanted):
    paths = pictures(tmp_path / "cats", *splits)
    run = runs.load(run_on(tmp_path / "run", tmp_path / "cats", "data.validation=0.5"))
    trained_on = load_data(run.config).train.paths
    boxes = [path for path in paths if path not in trained_on]
    if "test" in splits:
        boxes = [path for path in paths if path.startswith("test/")]
    (tmp_path / "boxes.csv").write_text("".join(f"{path},1,1,9,9\n" for path in boxes))
    protocol = LocalizationProtocol(boxes=tmp_path / "boxes.csv", step=0.1)
    dataset, found = load_whole_images(run, on_unseen_images(run.config), protocol)
    assert sorted(found.paths) == sorted(boxes)
    assert len(found) == len(dataset.test) == wanted
    assert not {*found.paths} & {*trained_on}
    assert measure_localization(run, protocol).record["images"] == wanted


def test_maps_of_two_runs_have_two_places(tmp_path):
    pictures(tmp_path / "cats", "test")
    two = [runs.load(run_on(tmp_path / name / "net", tmp_path / "cats", f"train.seed={len(name)}")) for name in "ab"]
    check_together(two[:1], tmp_path)
    with pytest.raises(ValueError, match=r"a/net and .*b/net are both net with seed 1"):
        check_together(two, None)
    other = runs.load(run_on(tmp_path / "c" / "net", tmp_path / "cats", "train.seed=5"))
    check_together([two[0], other], None)
    with pytest.raises(ValueError, match=r"the maps of .*a/net and .*c/net would both go to maps/net; measure them"):
        check_together([two[0], other], Path("maps"))


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
