"""A run as a thing of the library: what belongs to it, and the ways in which it cannot be loaded."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from alignmixup import data, models, runs
from alignmixup.runs.evaluation import recorded_errors
from alignmixup.runs.stored.settings import configuration_of
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import ConfigError, dump
from alignmixup.training.config_file import load as load_config
from alignmixup.training.weights import save_model

TINY = ["model.width=2", "model.strides=[2,2,1,1]"]


@pytest.fixture
def run(tmp_path):
    """A run folder with configuration and weights."""
    config = load_config("digits/mixup", [*TINY, "train.seed=3"])
    (tmp_path / "config.toml").write_text(dump(config))
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", models.build("preact_resnet18", num_classes=10, options=tiny(config)))
    return tmp_path


def tiny(config):
    return dict(config.model.options)


def test_a_run(run):
    found = runs.load(str(run), overrides=["data.root=x"])
    assert (found.method, found.seed, found.folder.path) == ("mixup", 3, run)
    assert found.config.data.root == "x"
    assert len(found.fingerprint) == 64
    model = found.network(data.load("digits"))
    torch.manual_seed(0)
    same = models.build("preact_resnet18", num_classes=10, options=tiny(found.config))
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True))


def test_a_checkpoint_of_a_parallel_model(run, tmp_path):
    found = runs.load(str(run))
    state = found.network(data.load("digits")).state_dict()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "other.pth")
    again = runs.load(str(run), checkpoint=tmp_path / "other.pth")
    loaded = again.network(data.load("digits")).state_dict()
    assert all(value.equal(state[name]) for name, value in loaded.items())


def test_a_checkpoint_for_other_classes_or_another_model(run, tmp_path):
    found = runs.load(str(run))
    for name, options, classes in (
        ("head", tiny(found.config), 7),
        ("wide", tiny(found.config) | {"width": 4}, 10),
    ):
        torch.save(models.build("preact_resnet18", num_classes=classes, options=options).state_dict(), tmp_path / name)
    other = runs.load(str(run), checkpoint=tmp_path / "head")
    with pytest.raises(ValueError, match="head is a network for 7 classes and digits has 10"):
        other.network(data.load("digits"))
    other = runs.load(str(run), checkpoint=tmp_path / "wide")
    with pytest.raises(
        ValueError, match=r"wide does not fit the model: \S+ is .* there, and .* in the model \(and \d+ more\)$"
    ):
        other.network(data.load("digits"))


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
        (
            "torchvision:resnet18",
            {"data": "digits", "crop": 0.9, "overrides": ["model.pretrained=true"]},
            "--crop 0.9 is for folder or imagenet: digits is shown whole",
        ),
        (
            "torchvision:googlenet",
            {"data": "digits", "checkpoint": "w.pth"},
            r"googlenet with --checkpoint w.pth: say transform_input=true where they are torchvision's",
        ),
        ("RUN", {"data": "digits"}, "--data digits: the run .* was trained on digits"),
        ("RUN", {"overrides": ["model.width=8"]}, "--set model.width=8: an evaluation can change data.root"),
    ],
)
def test_what_cannot_be_found(run, target, options, message):
    with pytest.raises(ValueError, match=message):
        runs.load(str(run) if target == "RUN" else target, **options)


def test_missing_weights(run):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*model_raw.safetensors"):
        runs.load(str(run), weights="raw")
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none.pth"):
        runs.load(str(run), checkpoint=run / ".." / "none.pth")


def test_published_weights_for_other_classes(monkeypatch):
    found = runs.load("torchvision:resnet18", data="digits", overrides=["model.pretrained=true"])
    plain = torch.nn.Identity()
    monkeypatch.setattr("alignmixup.training.build.build_model", lambda config, dataset, start=True: plain)
    with pytest.raises(
        ConfigError, match="published weights of torchvision:resnet18 are for 1000 classes and the data"
    ):
        found.network(data.load("digits"))
    name = "timm:vit_tiny_patch16_224.augreg_in21k"
    found = runs.load(name, data="digits", overrides=["model.pretrained=true"])
    with pytest.raises(ConfigError, match=r"augreg_in21k are for 21843 classes and the data have 10.*--labels FILE"):
        found.network(data.load("digits"))
    many = replace(data.load("digits"), class_names=tuple(map(str, range(21843))))
    assert found.network(many) is plain
    assert found.fingerprint == ""


def test_a_model_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes, width=3, in_channels=1, pretrained=False):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.Flatten(), nn.Linear(64 * width, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    found = runs.load("my_net:build", data="digits", overrides=["model.width=2", "model.pretrained=true"])
    assert found.network(data.load("digits"))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(ValueError, match="module 'my_net' has no 'bild'"):
        runs.load("my_net:bild", data="digits")


def test_networks_whose_published_weights_have_no_last_layer(monkeypatch):
    monkeypatch.setattr(
        "alignmixup.training.build.build_model", lambda config, dataset, start=True: torch.nn.Identity()
    )
    found = runs.load("vgg16_gap", data="digits", overrides=["model.pretrained=true"])
    with pytest.raises(ConfigError, match="vgg16_gap are without its last layer: give --checkpoint FILE"):
        found.network(data.load("digits"))


def test_what_the_record_says(run):
    found = runs.load(run)
    assert found.record is None
    assert recorded_errors(found) is None
    errors = [50.0, *range(20, 31)]
    rows = enumerate([errors[0], None, *errors[1:]])  # the second epoch was not evaluated
    curve = [{"epoch": n, "train_loss": 1.0, **({} if e is None else {"error_percent": float(e)})} for n, e in rows]
    metrics = {"best_error_percent": 20.0, "best_epoch": 2, "last_error_percent": 30.0, "last10_error_percent": 25.5}
    metrics |= {"last_cross_entropy": 1.0, "images_per_second": 1.0}
    config = to_dict(runs.load(run).config)
    record = {"format": 1, "seed": 0, "config": config, "curve": curve}
    record["metrics"] = metrics | {"epochs": len(curve), "seconds": 1.0}
    (run / "record.json").write_text(json.dumps(record))
    numbers = recorded_errors(runs.load(run))
    assert numbers["last10_error_percent"] == pytest.approx(25.5)
    assert numbers["last10_median_error_percent"] == 25.5
    assert numbers["last10_epochs_evaluated"] == 10
    assert numbers["best_error_percent"] == 20


def test_each_part_is_loaded_when_it_is_asked_for_and_kept(run):
    found = runs.load(str(run), overrides=["train.device=cpu"])
    assert set(vars(found)) == {"name", "config", "weights", "folder", "choice"}
    model = found.model
    assert model is found.model
    assert not model.training
    assert "data" in vars(found)
    assert type(found.mixer).__name__ == "Mixup"
    x, y = found.images([3, 5])
    assert x.shape == (2, 1, 8, 8)
    assert y.tolist() == found.data.test.labels[[3, 5]].tolist()
    assert model(x).shape == (2, 10)
    with found.mixer(x, y) as batch:
        assert batch.x.equal(x)  # in evaluation mode nothing is mixed


def test_loading_and_training_leave_torchs_global_stream_where_it_was(run, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert runs.load(run).mixer is not None
    short = [*TINY, "train.device=cpu", "train.epochs=1", "data.subset=2"]
    runs.train("digits/mixup", tmp_path / "new", overrides=short)
    assert torch.equal(torch.rand(3), expected)  # else a mixer without a seed, built next, would draw as the last did


def test_a_path_is_a_folder_and_a_text_may_be_a_model(tmp_path):
    with pytest.raises(ConfigError, match=r"preact_resnet18 is no run folder: it has no config.toml$"):
        runs.load(tmp_path / "preact_resnet18")


def test_names_are_imported_when_they_are_used():
    code = "import sys; from alignmixup import runs; import alignmixup.cli; print('torch' in sys.modules, dir(runs))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"False {sorted(runs.__all__)}"
    assert all(callable(getattr(runs, name)) for name in runs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        runs.nothing  # noqa: B018


@pytest.mark.parametrize("weights", ["best", "raw", "model"])
def test_weights_of_a_run_are_not_named_beside_others(weights):
    with pytest.raises(ValueError, match=f"--weights {weights} names a file of the run, and --checkpoint another"):
        runs.load("run", checkpoint="other.pth", weights=weights)
    with pytest.raises(ConfigError, match=f"--weights {weights} is for a run: a model by name has those of"):
        runs.load("preact_resnet18", data="digits", weights=weights)


def test_an_option_at_its_default_sets_no_run_apart_whether_it_is_written_or_not(run, tmp_path):
    old = runs.load(run)
    new = replace(old, config=load_config("digits/mixup", [*TINY, "train.seed=4", "method.lam_per=batch"]))
    assert configuration_of(new) == configuration_of(old)
    other = replace(old, config=load_config("digits/mixup", [*TINY, "method.lam_per=sample"]))
    assert configuration_of(other) != configuration_of(old)
