"""A small CUB-200-2011 from its files to a trained network, its maps and its boxes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.data.conftest import write_cub

from alignmixup import data, taps
from alignmixup.data.boxes.data import load_boxes
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.training import train
from alignmixup.training.build import build_model, load_data
from alignmixup.training.config_file import load
from alignmixup.training.weights import load_model_weights

pytestmark = pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")

VGG = ["model.pretrained=false", "model.width=2", "model.convolutions=[1,1,1,1,1]"]
RESNET = ["model.pretrained=false", "model.blocks=[1,1,1,1]"]


def tiny_run(name: str, root: Path, *options: str) -> Any:
    small = ["data.image_size=64", "data.workers=0", "train.epochs=1", "train.batch_size=6", "train.device=cpu"]
    return load(name, [f"data.root={root}", "schedule.name=constant", *small, *options])


@pytest.mark.parametrize("method", ["baseline", "mixup", "cutmix", "alignmixup"])
def test_an_epoch_of_vgg_gap(tmp_path: Path, method: str) -> None:
    config = tiny_run(f"cub/vgg16_gap/{method}", write_cub(tmp_path), *VGG)
    folder = RunFolder(tmp_path / "run")
    record = train(config, folder)
    (row,) = record["curve"]
    assert row["images"] == 12
    assert 0 <= row["error_percent"] <= 100
    dataset = load_data(config)
    model = build_model(config, dataset)
    load_model_weights(folder.weights, model)
    model.eval()
    whole = data.load("cub", root=tmp_path, image_size=64, test_view="whole")
    _, loader = data.build_loaders(whole, batch_size=8, workers=0)
    x, y = next(iter(loader))
    boxes = load_boxes("cub", root=tmp_path, dataset=whole)
    assert boxes.labels.tolist() == y.tolist()
    maps = taps.feature_maps(model, x, ["extra"])["extra"]
    assert maps.shape == (8, 32, 4, 4)
    with torch.no_grad():
        cam = torch.einsum("bchw,kc->bkhw", maps, model.head.weight)
        torch.testing.assert_close(cam.mean((2, 3)) + model.head.bias, model(x))


def test_a_step_of_resnet50(tmp_path: Path) -> None:
    config = tiny_run("cub/resnet50_gap/alignmixup", write_cub(tmp_path), *RESNET, "train.batch_size=12")
    record = train(config, RunFolder(tmp_path / "run"))
    assert record["curve"][0]["images"] == 12


def test_the_recipe_of_the_cutmix_paper() -> None:
    for network, rate in (("vgg16_gap", 1e-4), ("resnet50_gap", 1e-3)):
        configs = [load(f"cub/{network}/{method}") for method in ("baseline", "mixup", "cutmix", "alignmixup")]
        first = configs[0]
        assert (first.optimizer.lr, first.optimizer.head_lr_factor, first.optimizer.weight_decay) == (rate, 10.0, 1e-4)
        assert (first.train.epochs, first.train.batch_size, first.schedule.milestones) == (600, 32, (150, 300, 450))
        assert (first.data.augment, first.data.normalization, first.optimizer.nesterov) == (
            "squeezed_crop",
            "imagenet",
            False,
        )
        for config in configs[1:]:  # methods are compared under one recipe
            assert (config.data, config.model, config.optimizer) == (first.data, first.model, first.optimizer)
            assert (config.schedule, config.train, config.evaluation) == (first.schedule, first.train, first.evaluation)
