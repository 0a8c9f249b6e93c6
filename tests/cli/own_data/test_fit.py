"""The configuration that fits a folder of images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from alignmixup import data
from alignmixup.cli import main
from alignmixup.cli.own_data.fit import fit
from alignmixup.training.bundled import bundled_names
from alignmixup.training.config import OptimizerConfig
from alignmixup.training.config_file import ConfigError
from alignmixup.training.optimization.optimizers import build_optimizer, freeze_backbone

QUICK = ["--set", "train.epochs=2", "model.width=4", "train.device=cpu", "train.threads=1"]


@pytest.mark.parametrize(
    ("side", "size", "stem"), [(8, 16, 1), (16, 16, 1), (20, 32, 1), (32, 32, 1), (50, 64, 2), (300, 64, 2)]
)
def test_size_and_stem_follow_the_images(folder: Any, side: int, size: int, stem: int) -> None:
    config = fit(folder(side=side, count=2)).config
    assert (config.data.image_size, config.model.options["stem_stride"]) == (size, stem)
    strides = config.model.options["strides"]
    last = size // stem
    for stride in strides:  # type: ignore[union-attr]
        last //= stride
    assert last == 4, "the last map has 4x4 positions, so that aligning it means something"


def test_epochs_follow_the_number_of_images(folder: Any) -> None:
    root = folder(count=4)
    assert fit(root).config.train.epochs == 100
    assert fit(root, overrides=["train.epochs=7"]).config.train.epochs == 7
    assert "; 50 % of each class" in fit(root, overrides=["data.validation=0.5"]).summary[-1].replace(" epochs, ", "; ")


def test_without_a_test_split_a_fifth_of_each_class_is_held_out(folder: Any) -> None:
    root = folder(count=10, classes="abc")
    config = fit(root).config
    assert config.data.validation == 0.2
    found = [data.load("folder", root=root, image_size=16, validation=0.2, progress=False) for _ in range(2)]
    assert [len(found[0].train), len(found[0].test)] == [24, 6]
    assert torch.bincount(found[0].test.labels).tolist() == [2, 2, 2]
    assert list(found[0].test.paths or ()) == list(found[1].test.paths or ())
    assert not set(found[0].train.paths or ()) & set(found[0].test.paths or ())
    assert found[0].class_names == ("a", "b", "c")


def test_few_images_for_a_network_that_was_trained_before_are_told_what_was_measured(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(count=4)
    advice = "no mixing did as well as any method; --method baseline"
    assert advice in fit(root, model="timm:resnet10t").summary[-1]
    for told in ({"model": "timm:resnet10t", "method": "baseline"}, {}, {"method": "cutmix"}):
        assert not any(advice in line for line in fit(root, **told).summary)
    assert not any(
        advice in line for line in fit(root, model="timm:resnet10t", overrides=["model.pretrained=false"]).summary
    )
    monkeypatch.setattr("alignmixup.cli.own_data.fit._FEW", 7)
    assert advice not in fit(root, model="timm:resnet10t").summary[-1]


@pytest.mark.parametrize(("splits", "held_out"), [(("train",), 0.2), (("train", "val"), 0.0), (("train", "test"), 0.0)])
def test_splits_that_are_there_are_taken(folder: Any, splits: tuple[str, ...], held_out: float) -> None:
    root = folder(*splits)
    found = fit(root)
    assert found.config.data.validation == held_out
    loaded = data.load("folder", root=root, image_size=16, validation=held_out or None, progress=False, cache=False)
    assert (len(loaded.train), len(loaded.test)) == ((16, 4) if held_out else (20, 20))


def test_other_networks_find_their_layers_themselves(folder: Any) -> None:
    root = folder(count=3)
    own, other = fit(root).config, fit(root, model="timm:resnet10t").config
    assert own.method.options["layer"] == "stage4"
    assert "layer" not in other.method.options
    assert other.model.options == {"pretrained": True}
    assert (other.data.image_size, other.optimizer.head_lr_factor) == (224, 10.0)
    named = fit(root, model="timm:resnet10t", overrides=["method.layer=layer3"]).config
    assert named.method.options["layer"] == "layer3"
    from_file = fit(root, model="torchvision:resnet18", weights=Path("w.pth"), freeze=True).config
    assert from_file.model.options == {"weights": "w.pth"}
    assert from_file.optimizer.freeze


def test_what_cannot_be_trained_on_is_refused(folder: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--method cutmx: did you mean cutmix"):
        fit(folder(count=2), method="cutmx")
    root = tmp_path / "my images"
    with pytest.raises(ConfigError, match="--weights and --freeze are of a --model"):
        fit(root, freeze=True)
    (root / "b" / "1.png").unlink()
    with pytest.raises(ConfigError, match="class 'b' has 1 images"):
        fit(root)
    shutil.rmtree(root / "b")
    with pytest.raises(ConfigError, match="one class folder, 'a'"):
        fit(root)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "LA"])
def test_images_of_any_mode_train_and_are_evaluated_on_what_was_held_out(folder: Any, mode: str) -> None:
    root = folder(mode=mode)
    assert main(["train", "--data", str(root), "--method", "mixup", *QUICK]) == 0
    run = Path("runs/my images/mixup-seed0")
    trained = json.loads((run / "record.json").read_text(encoding="utf-8"))["metrics"]["last_error_percent"]
    assert main(["evaluate", str(run), "--what", "error"]) == 0
    evaluated = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluated["error_percent"] == pytest.approx(trained)


def test_every_method_of_the_recipe_trains(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(count=5)
    for name in (name for name in bundled_names() if name.rpartition("/")[0] == "folder"):
        assert main(["train", "--data", str(root), "--method", name.partition("/")[2], *QUICK]) == 0
    error = capsys.readouterr().err
    assert "10 images in 2 classes, 20 x 20 pixels, L" in error
    assert "20 % of each class, drawn with a fixed seed, held out to test on" in error
    assert "next: alignmixup evaluate 'runs/my images/mixup-seed0'" in error


def test_a_network_of_a_library_is_trained_from_a_file_with_its_backbone_frozen(folder: Any) -> None:
    import timm

    root = folder(count=4)
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), "weights.pth")
    keys = ["data.image_size=32", "train.epochs=1", "train.device=cpu", "data.workers=0"]
    command = ["train", "--data", str(root), "--model", "timm:resnet10t", "--weights", "weights.pth", "--freeze"]
    assert main([*command, "--out", "run", "--set", *keys]) == 0
    from safetensors.torch import load_file

    before, after = torch.load("weights.pth"), load_file("run/model.safetensors")
    moved = [name for name in before if name in after and not torch.equal(before[name], after[name])]
    assert all(name.startswith("fc.") for name in moved), moved


def test_freezing_leaves_the_head_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    freeze_backbone(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["4.weight", "4.bias"]
    assert model.training
    assert not model[1].training
    groups = build_optimizer(model, OptimizerConfig()).param_groups
    assert sum(len(group["params"]) for group in groups) == 2
