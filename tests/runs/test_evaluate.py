"""One network measured: batch sizes, images in files."""

import importlib

import pytest
import torch

from alignmixup import data
from alignmixup.evaluation.attacks import Attack
from alignmixup.runs import evaluate as evaluate_parts
from alignmixup.runs.evaluate import _Bench, measure
from alignmixup.runs.evaluation_plan import Plan
from alignmixup.runs.network import find_subject
from alignmixup.training.build import load_data, save_model
from alignmixup.training.config_file import dump, load
from alignmixup.training.engine import Engine


@pytest.fixture
def subject(tmp_path):
    """A network that was never trained."""
    from alignmixup.training.build import build_model

    overrides = ["model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu", "train.threads=1"]
    config = load("digits/baseline", overrides)
    (tmp_path / "config.toml").write_text(dump(config))
    save_model(tmp_path / "model.safetensors", build_model(config, load_data(config)))
    return find_subject(str(tmp_path), data=None, overrides=[])


@pytest.fixture
def folder_subject(tmp_path):
    """The same on images in files."""
    image = importlib.import_module("PIL.Image")
    from alignmixup.training.build import build_model

    for split in ("train", "test"):
        for kind in ("a", "b"):
            (tmp_path / "images" / split / kind).mkdir(parents=True)
            for number in range(4):
                colour = (40 * number, 200 if kind == "a" else 20, 90)
                image.new("RGB", (20, 16), colour).save(tmp_path / "images" / split / kind / f"{number}.png")
    overrides = ["data.name=folder", f"data.root={tmp_path / 'images'}", "data.image_size=16", "data.workers=0"]
    overrides += ["model.in_channels=3", "model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu"]
    config = load("digits/baseline", overrides)
    (tmp_path / "config.toml").write_text(dump(config))
    save_model(tmp_path / "model.safetensors", build_model(config, load_data(config)))
    return find_subject(str(tmp_path), data=None, overrides=[])


def test_numbers_do_not_depend_on_the_batch_size(subject):
    plan = Plan(parts=("error", "calibration", "attacks"), attacks=(Attack(iterations=2),), limit=40)
    one, other = measure(subject, plan), measure(subject, Plan(**{**vars(plan), "batch_size": 13}))
    assert (one["batch_size"], other["batch_size"]) == (256, 13)
    assert other["error_percent"] == one["error_percent"]
    assert other["cross_entropy"] == pytest.approx(one["cross_entropy"], rel=1e-6)
    assert other["attacks"]["attacks"][0]["error_percent"] == one["attacks"]["attacks"][0]["error_percent"]
    assert "checks" not in one["attacks"]
    assert one["settings"] == other["settings"]


def test_the_batch_size_halves_when_memory_runs_out(subject):
    engine = Engine(subject.config.train)
    bench = _Bench(subject, Plan(parts=("error",)), engine, load_data(subject.config))
    forward = bench.model.forward

    def limited(x):
        if len(x) > 100:
            raise torch.OutOfMemoryError
        return forward(x)

    bench.model.forward = limited
    assert len(bench.outputs.labels) == 898
    assert bench.batch_size == 64
    engine.close()


def test_images_in_files(folder_subject, monkeypatch):
    plan = Plan(
        parts=("error", "attacks", "corruptions"),
        attacks=(Attack(iterations=1),),
        kinds=("contrast",),
        severities=(5,),
        limit=4,
    )
    folder = load_data(folder_subject.config)
    streamed = data.load("folder", root=folder_subject.config.data.root, image_size=16, in_memory=False)
    whole = measure(folder_subject, plan)
    monkeypatch.setattr(evaluate_parts, "load_data", lambda config: streamed)
    result = measure(folder_subject, plan)
    assert not streamed.in_memory
    assert folder.in_memory
    assert result["images"] == 8
    assert result["error_percent"] == whole["error_percent"]
    assert result["corruptions"]["error_percent"] == whole["corruptions"]["error_percent"]
    assert result["attacks"]["images"] == result["corruptions"]["images"] == 4
    clean = result["corruptions"]["clean_error_percent"]
    assert clean == pytest.approx(result["attacks"]["clean_error_percent"])  # decoding to bytes changed nothing
    with pytest.raises(ValueError, match="corruptions of images in files need --limit N"):
        measure(folder_subject, Plan(**{**vars(plan), "limit": 0, "parts": ("corruptions",)}))
