"""Runs and models by name, and the ways in which they cannot be loaded."""

import json

import pytest
import torch

from alignmixup import data, models
from alignmixup.runs.network import find_subject, load_model, recorded
from alignmixup.training.build import save_model
from alignmixup.training.config_file import ConfigError, dump, load

TINY = ["model.width=2", "model.strides=[2,2,1,1]"]


@pytest.fixture
def run(tmp_path):
    """A run folder with configuration and weights."""
    config = load("digits/mixup", [*TINY, "train.seed=3"])
    (tmp_path / "config.toml").write_text(dump(config))
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", models.build("preact_resnet18", num_classes=10, options=tiny(config)))
    return tmp_path


def tiny(config):
    return dict(config.model.options)


def test_a_run(run):
    subject = find_subject(str(run), data=None, overrides=["data.root=x"])
    assert (subject.method, subject.seed, subject.folder) == ("mixup", 3, run)
    assert subject.config.data.root == "x"
    assert len(subject.fingerprint) == 64
    model = load_model(subject, data.load("digits"))
    torch.manual_seed(0)
    same = models.build("preact_resnet18", num_classes=10, options=tiny(subject.config))
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True))


def test_a_checkpoint_of_a_parallel_model(run, tmp_path):
    subject = find_subject(str(run), data=None, overrides=[])
    state = load_model(subject, data.load("digits")).state_dict()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "other.pth")
    again = find_subject(str(run), data=None, overrides=[], checkpoint=tmp_path / "other.pth")
    loaded = load_model(again, data.load("digits")).state_dict()
    assert all(value.equal(state[name]) for name, value in loaded.items())


def test_a_checkpoint_for_other_classes_or_another_model(run, tmp_path):
    subject = find_subject(str(run), data=None, overrides=[])
    for name, options, classes in (
        ("head", tiny(subject.config), 7),
        ("wide", tiny(subject.config) | {"width": 4}, 10),
    ):
        torch.save(models.build("preact_resnet18", num_classes=classes, options=options).state_dict(), tmp_path / name)
    other = find_subject(str(run), data=None, overrides=[], checkpoint=tmp_path / "head")
    with pytest.raises(ValueError, match="head is a network for 7 classes and digits has 10"):
        load_model(other, data.load("digits"))
    other = find_subject(str(run), data=None, overrides=[], checkpoint=tmp_path / "wide")
    with pytest.raises(ValueError, match=r"wide does not fit the model: .*size mismatch.* more\)"):
        load_model(other, data.load("digits"))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("nowhere", {}, "nowhere is no run folder: it has no config.toml; nor is it a model"),
        ("preact_resnet18", {}, "say on which images with --data NAME"),
        (
            "preact_resnet18",
            {"data": "digits"},
            "has no weights: give --checkpoint FILE or --set model.pretrained=true",
        ),
        ("preact_resnet18", {"data": "digits", "overrides": ["optimizer.lr=1"]}, r"can change data.\*, model.\* and"),
        ("RUN", {"data": "digits"}, "has its own data"),
        ("RUN", {"overrides": ["model.width=8"]}, "--set model.width=8: an evaluation can change data.root"),
    ],
)
def test_what_cannot_be_found(run, target, options, message):
    with pytest.raises(ConfigError, match=message):
        find_subject(str(run) if target == "RUN" else target, **{"data": None, "overrides": [], **options})


def test_missing_weights(run):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*model_raw.safetensors"):
        find_subject(str(run), data=None, overrides=[], weights="raw")
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none.pth"):
        find_subject(str(run), data=None, overrides=[], checkpoint=run / ".." / "none.pth")


def test_published_weights_for_other_classes(monkeypatch):
    subject = find_subject("torchvision:resnet18", data="digits", overrides=["model.pretrained=true"])
    plain = torch.nn.Linear(1, 1)
    monkeypatch.setattr("alignmixup.training.build.build_model", lambda config, dataset: plain)
    with pytest.raises(
        ConfigError, match="published weights of torchvision:resnet18 are for 1000 classes and the data"
    ):
        load_model(subject, data.load("digits"))
    plain.pretrained_cfg = {"num_classes": 21}
    subject = find_subject("timm:resnet18", data="digits", overrides=["model.pretrained=true"])
    with pytest.raises(ConfigError, match="timm:resnet18 are for 21 classes and the data have 10"):
        load_model(subject, data.load("digits"))
    plain.pretrained_cfg["num_classes"] = 10
    assert load_model(subject, data.load("digits")) is plain
    assert subject.fingerprint == ""


def test_a_model_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes, width=3, in_channels=1, pretrained=False):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.Flatten(), nn.Linear(64 * width, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    subject = find_subject("my_net:build", data="digits", overrides=["model.width=2", "model.pretrained=true"])
    assert load_model(subject, data.load("digits"))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(ValueError, match="module 'my_net' has no 'bild'"):
        find_subject("my_net:bild", data="digits", overrides=[])


def test_networks_whose_published_weights_have_no_last_layer(monkeypatch):
    monkeypatch.setattr("alignmixup.training.build.build_model", lambda config, dataset: torch.nn.Identity())
    subject = find_subject("vgg16_gap", data="digits", overrides=["model.pretrained=true"])
    with pytest.raises(ConfigError, match="vgg16_gap are without its last layer: give --checkpoint FILE"):
        load_model(subject, data.load("digits"))


def test_what_the_record_says(tmp_path):
    assert recorded(None) is None
    assert recorded(tmp_path) is None
    errors = [50.0, *range(20, 31)]
    curve = [{"epoch": epoch, "error_percent": float(error)} for epoch, error in enumerate(errors)]
    curve.insert(3, {"epoch": 99})  # an epoch that was not evaluated
    metrics = {"best_error_percent": 20.0, "best_epoch": 1, "last_error_percent": 30.0}
    (tmp_path / "record.json").write_text(json.dumps({"format": 1, "metrics": metrics, "curve": curve}))
    found = recorded(tmp_path)
    assert found["last10_error_percent"] == pytest.approx(25.5)
    assert found["last10_median_error_percent"] == 25.5
    assert found["last10_epochs_evaluated"] == 10
    assert found["best_error_percent"] == 20
