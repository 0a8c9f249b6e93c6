"""Networks measured: what is asked for, batch sizes, images in files, what a stored result answers."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.untrained import write_run

from alignmixup import data, runs
from alignmixup.cli import main
from alignmixup.evaluation.attacks import Attack
from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS
from alignmixup.records import read_json
from alignmixup.runs.evaluation import evaluate_several, figure_files, mean_corruptions
from alignmixup.runs.measurements import CONVENTIONS, Measurements
from alignmixup.runs.options.evaluation import PARTS, Plan, build_plan
from alignmixup.runs.stored.settings import settings_of
from alignmixup.training import build
from alignmixup.training.build import load_data
from alignmixup.training.config_file import load
from alignmixup.training.engine import Engine
from alignmixup.training.progress.images import image_progress


def measure(run, plan):
    return evaluate_several([run], plan, out=None)[0]


@pytest.fixture
def run(tmp_path):
    """A network that was never trained."""
    overrides = ["model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu", "train.threads=1"]
    return runs.load(write_run(tmp_path, load("digits/baseline", overrides)))


@pytest.fixture
def folder_run(tmp_path):
    """The same on images in files."""
    image = importlib.import_module("PIL.Image")
    for split in ("train", "test"):
        for kind in ("a", "b"):
            (tmp_path / "images" / split / kind).mkdir(parents=True)
            for number in range(4):
                colour = (40 * number, 200 if kind == "a" else 20, 90)
                image.new("RGB", (20, 16), colour).save(tmp_path / "images" / split / kind / f"{number}.png")
    overrides = ["data.name=folder", f"data.root={tmp_path / 'images'}", "data.image_size=16", "data.workers=0"]
    overrides += ["model.in_channels=3", "model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu"]
    write_run(tmp_path, load("digits/baseline", overrides))
    return runs.load(tmp_path)


def test_numbers_do_not_depend_on_the_batch_size(run):
    plan = Plan(parts=("error", "calibration", "attacks"), attacks=(Attack(iterations=2),), limit=40)
    one, other = measure(run, plan), measure(run, Plan(**{**vars(plan), "batch_size": 13}))
    assert (one["batch_size"], other["batch_size"]) == (256, 13)
    assert other["error_percent"] == one["error_percent"]
    assert other["cross_entropy"] == pytest.approx(one["cross_entropy"], rel=1e-6)
    assert other["attacks"]["attacks"][0]["error_percent"] == one["attacks"]["attacks"][0]["error_percent"]
    assert "checks" not in one["attacks"]
    assert one["settings"] == other["settings"]


def test_the_batch_size_halves_when_memory_runs_out(run):
    engine = Engine(run.config.train)
    bench = Measurements(run, Plan(parts=("error",)), engine, progress=image_progress)
    forward = bench.model.forward

    def limited(x):
        if len(x) > 100:
            raise torch.OutOfMemoryError
        return forward(x)

    bench.model.forward = limited
    assert len(bench.outputs.labels) == 898
    assert bench.batch_size == 64
    engine.close()


def test_images_of_another_set_without_finite_logits_are_told_of(run, caplog):
    engine = Engine(run.config.train)
    bench = Measurements(run, Plan(parts=("ood",), ood=("uniform",), limit=10), engine, progress=image_progress)
    forward = bench.model.forward

    def overflowing(x, share=0.4):
        logits = forward(x)
        logits[: int(share * len(x))] = torch.inf
        return logits

    bench.model.forward = overflowing
    assert len(bench.ood_logits["uniform"]) == 6
    assert "uniform: logits that are not finite for 4 of 10 images, which are left out" in caplog.text
    del bench.ood_logits
    bench.model.forward = lambda x: overflowing(x, 1.0)
    with pytest.raises(ValueError, match="none of the 10 images of uniform has finite logits: leave it out"):
        bench.ood_logits  # noqa: B018
    engine.close()


def test_images_in_files(folder_run, monkeypatch):
    plan = Plan(
        parts=("error", "attacks", "corruptions"),
        attacks=(Attack(iterations=1),),
        kinds=("contrast",),
        severities=(5,),
        limit=4,
    )
    folder = load_data(folder_run.config)
    streamed = data.load("folder", root=folder_run.config.data.root, image_size=16, in_memory=False)
    whole = measure(folder_run, plan)
    monkeypatch.setattr(build, "load_data", lambda config, **_: streamed)
    result = measure(folder_run, plan)
    assert not streamed.in_memory
    assert folder.in_memory
    assert result["images"] == 8
    assert result["error_percent"] == whole["error_percent"]
    assert result["corruptions"]["error_percent"] == whole["corruptions"]["error_percent"]
    assert result["attacks"]["images"] == result["corruptions"]["images"] == 4
    clean = result["corruptions"]["clean_error_percent"]
    assert clean == pytest.approx(result["attacks"]["clean_error_percent"])  # decoding to bytes changed nothing
    with pytest.raises(ValueError, match="corruptions of images in files: give --limit N"):
        measure(folder_run, Plan(**{**vars(plan), "limit": 0, "parts": ("corruptions",)}))


def test_a_released_tree_is_read_by_the_names_of_the_classes(folder_run, tmp_path):
    """Each corrupted image is the other class's clean one: what was right is wrong."""
    image = importlib.import_module("PIL.Image")
    for kind, other in (("a", "b"), ("b", "a")):
        for number in range(4):
            place = tmp_path / "C" / "fog" / "2" / kind
            place.mkdir(parents=True, exist_ok=True)
            clean = image.open(tmp_path / "images" / "test" / other / f"{number}.png")
            clean.crop((2, 0, 18, 16)).save(place / f"{number}.png")
    asked = {"corruption_folder": tmp_path / "C", "corruptions": "fog", "severities": [2]}
    whole = runs.evaluate(folder_run, what="error", **asked)["corruptions"]
    assert whole["images"] == 8
    assert whole["error_percent"]["fog"][0] + whole["clean_error_percent"] == 100
    part = runs.evaluate(folder_run, what="error", limit=3, **asked)["corruptions"]
    assert part["images"] == 3


def of(tmp_path, *overrides):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    return runs.Run("run", load("digits/mixup", overrides), file, None)


def test_survives_json(tmp_path):
    plan = Plan(parts=PARTS, attacks=(Attack(),), kinds=("fog",), severities=(1,), corruption_folder=Path("c"))
    settings = settings_of(of(tmp_path), plan)
    assert json.loads(json.dumps(settings)) == settings


def test_what_changes_the_numbers_changes_the_settings(tmp_path):
    plan = Plan(parts=("error", "attacks"), attacks=(Attack(),), bins=15)
    usual = settings_of(of(tmp_path), plan)
    assert settings_of(of(tmp_path), replace(plan, bins=10)) == usual  # no calibration: no bins
    assert settings_of(of(tmp_path), replace(plan, batch_size=3)) == usual
    assert settings_of(of(tmp_path, "data.root=x", "train.device=cpu"), plan) == usual
    assert settings_of(of(tmp_path), replace(plan, attacks=(Attack(iterations=50),))) != usual
    assert settings_of(of(tmp_path), replace(plan, limit=5)) != usual
    assert settings_of(of(tmp_path, "train.precision=bf16"), plan) != usual
    other = of(tmp_path)
    other.weights.write_bytes(b"abd")
    assert settings_of(other, plan) != usual


def test_conventions_are_of_known_parts():
    assert set(CONVENTIONS) - {"weights"} <= set(PARTS)


def test_what_is_measured_unless_asked():
    plan = build_plan()
    assert plan.parts == ("error", "calibration")
    assert [attack.name for attack in plan.attacks] == ["fgsm", "pgd"]
    assert (plan.bins, plan.limit, plan.batch_size, plan.seed, plan.check_images) == (15, 0, None, 0, 200)
    assert plan.severities == (1, 2, 3, 4, 5)
    assert plan.kinds == KINDS
    assert plan.ood == ()


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"attack": "pgd:restarts=2"}, "attacks"),
        ({"attack": ("fgsm", "pgd")}, "attacks"),  # the default ones by name are asked for too
        ({"ood": "uniform, folder:a/b"}, "ood"),
        ({"corruptions": ["fog"]}, "corruptions"),
        ({"corruption_folder": Path("c")}, "corruptions"),
        ({"baseline": Path("run")}, "corruptions"),
    ],
)
def test_what_is_named_is_measured(asked, part):
    assert build_plan(what=["error"], **asked).parts == ("error", part)


def test_texts_with_commas_are_sequences():
    assert build_plan(what="all").parts == PARTS
    texts = {"ood": "uniform, folder:a/b", "corruptions": "all", "severities": "1,5", "batch_size": "7"}
    plan = build_plan(**texts, attack="fgsm", checks=False)
    lists = {"ood": ["uniform", "folder:a/b"], "corruptions": ["all"], "severities": [1, 5], "batch_size": 7}
    assert plan == build_plan(**lists, attack=["fgsm"], checks=False)
    assert plan.kinds == (*KINDS, *EXTRA_KINDS)
    assert (plan.check_images, plan.batch_size) == (0, 7)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"what": "erorr"}, "--what: unknown part 'erorr'; did you mean error?"),
        ({"limit": -1}, "--limit must be >= 0, got -1"),
        ({"bins": 0}, "--bins must be >= 1, got 0"),
        ({"check_images": 0}, "--check-images must be >= 1, got 0"),
        ({"batch_size": 0}, "--batch-size must be auto or >= 1, got 0"),
        ({"batch_size": "big"}, "--batch-size: 'big' is not a whole number"),
        ({"severities": "1,6"}, "6"),
        ({"corruptions": "fogg"}, "fog"),
        ({"attack": "pgd:epsilon=8"}, r"epsilon must be in \[0, 1\]"),
    ],
)
def test_what_cannot_be_asked(asked, message):
    with pytest.raises(ValueError, match=message):
        build_plan(**asked)


def test_the_library_gives_what_the_command_writes(run, tmp_path, capsys):
    options = ["--attack", "fgsm", "--severities", "5", "--corruptions", "contrast", "--baseline", run.name]
    out = tmp_path / "a.json"
    assert main(["evaluate", run.name, "--what", "all", "--limit", "20", *options, "--out", str(out)]) == 0
    asked = {"attack": "fgsm", "severities": [5], "corruptions": ["contrast"], "baseline": Path(run.name)}
    record = runs.evaluate(run, what="all", limit=20, **asked)
    assert not (tmp_path / "evaluation.json").exists()  # nothing is written where no file is named
    written = read_json(tmp_path / "a.json")
    assert json.loads(json.dumps(record)) == written
    assert written["corruptions"]["mce"]["mce_percent"] == pytest.approx(100)
    spelled = asked | {"baseline": Path(run.name).resolve()}  # the same folder, in which no numbers lie yet
    assert runs.evaluate(run, what="corruptions", limit=20, **(spelled | {"attack": None}))["corruptions"]["mce"]
    assert runs.evaluate(run, what="error", out=tmp_path / "b.json") == read_json(tmp_path / "b.json")
    assert figure_files([record], tmp_path / "a.json") == [
        tmp_path / f"a-{part}.png" for part in ("calibration", "representation", "attacks", "corruptions", "ood")
    ]
    assert all(file.is_file() for file in figure_files([record], tmp_path / "a.json"))


def test_figures_are_of_the_parts_that_all_have(tmp_path):
    several = [{"method": "a", "calibration": {}, "attacks": {}}, {"method": "b", "calibration": {}}]
    for part in ("calibration", "attacks"):
        (tmp_path / f"found-{part}.png").touch()
    assert figure_files(several, tmp_path / "found.json") == [tmp_path / "found-calibration.png"]
    assert figure_files([{"method": "a", "ood": {}}], tmp_path / "found.json") == []  # not drawn


def test_runs_of_a_method_are_averaged():
    def run(clean, errors):
        return {
            "kinds": ["fog"],
            "severities": [1, 5],
            "clean_error_percent": clean,
            "error_percent": {"fog": errors},
            "kind_error_percent": {"fog": sum(errors) / 2},
            "mean_error_percent": sum(errors) / 2,
        }

    mean = mean_corruptions([run(1.0, [2.0, 4.0]), run(3.0, [4.0, 10.0])])
    assert mean == run(2.0, [3.0, 7.0])
