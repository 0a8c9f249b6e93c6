"""What is opened from others: nothing of it runs, and what was damaged or exchanged is refused, never read as else."""

import json
import os
import random
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from alignmixup import runs
from alignmixup.data.mean_std import mean_std
from alignmixup.files import read_array, write_json
from alignmixup.models.weights import read_weights
from alignmixup.records import read_json, read_record
from alignmixup.runs.folder import RunFolder
from alignmixup.training import checkpoint
from alignmixup.training.checkpoint import check_class_names
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from alignmixup.training.config_file import load

    keys = ["data.subset=2", "model.width=2", "model.strides=[2,2,1,1]", "train.epochs=1", "train.device=cpu"]
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    runs.train(load("digits/mixup", keys), folder)
    return folder


@pytest.fixture
def copied(finished: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def test_a_flipped_bit_of_a_checkpoint_is_refused_or_changes_nothing(copied: RunFolder) -> None:
    content, draw = copied.checkpoint.read_bytes(), random.Random(0)
    whole, refused = checkpoint.load(copied.checkpoint), 0
    for _ in range(60):
        copied.checkpoint.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        try:
            assert same(checkpoint.load(copied.checkpoint), whole)
        except ValueError as error:
            assert "is damaged or no checkpoint" in str(error)  # noqa: PT017 - either is right
            refused += 1
    assert refused > 40


def test_a_flipped_bit_of_the_weights_is_refused(copied: RunFolder) -> None:
    content, draw = copied.weights.read_bytes(), random.Random(0)
    for _ in range(20):
        copied.weights.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        run = runs.load(copied.path)
        with pytest.raises(ValueError, match=r"SHA-256 differs from that in record\.json"):
            run.model  # noqa: B018


def test_a_flipped_bit_of_foreign_weights_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    file, draw = tmp_path / "weights.pth", random.Random(0)
    weights = {"a": torch.arange(500.0), "b": torch.ones(7)}
    torch.save(weights, file)
    content = file.read_bytes()
    for _ in range(60):
        file.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        try:
            assert same(dict(read_weights(file)), weights)
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("table", ["model", "method"])
def test_a_run_of_outside_modules_is_opened_on_request_only(
    copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text("open('ran', 'w').close()\ndef net(num_classes): ...\n")
    text = re.sub(rf'(\[{table}\]\nname = )"\w+"', r'\1"planted:net"', copied.config.read_text(encoding="utf-8"))
    copied.config.write_text(text)
    with pytest.raises(ConfigError, match=rf'{table}.name = "planted:net", code outside .* --trust'):
        runs.load(copied.path)
    from alignmixup.cli import main

    commands = [["evaluate"], ["localize"], ["gallery"], ["morph"], ["align"], ["train", "--resume", "--out"]]
    for command in (*commands, ["train-style", "--out", "x.safetensors", "--run"]):
        assert main([*command, str(copied.path)]) == 1
    assert main(["report", str(copied.path), "--out", str(tmp_path / "page.html")]) == 0
    assert not (tmp_path / "ran").exists()
    copied.record.unlink()  # it tells of the configuration before
    assert runs.load(copied.path, trust=True).config.model.name in ("planted:net", "preact_resnet18")
    assert "planted" not in sys.modules


class Planted:
    """Something whose pickle runs code as it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_pickles_are_refused_wherever_they_lie_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numpy.save("map.npy", numpy.array([Planted()], object), allow_pickle=True)
    torch.save(Planted(), "weights.pth")
    torch.save({"format": checkpoint.FORMAT, "model": Planted()}, "checkpoint.pt")
    with pytest.raises(ValueError, match=r"map\.npy is not a readable array"):
        read_array(Path("map.npy"))
    with pytest.raises(ValueError, match=r"weights\.pth is not a readable state dict .*mkdir") as refusal:
        read_weights("weights.pth")
    assert "weights_only" not in str(refusal.value)  # torch advises to read it as it should not be
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged or no checkpoint"):
        checkpoint.load(Path("checkpoint.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["config"], None),
        (["config", "method"], 3),
        (["curve"], []),
        (["curve", 0, "error_percent"], "<script>"),
        (["metrics", "seconds"], None),
        (["seed"], "../../outside"),
    ],
)
def test_a_record_of_another_form_is_refused(copied: RunFolder, path: list[Any], value: object) -> None:
    record = node = read_json(copied.record)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    write_json(copied.record, record)
    with pytest.raises(ValueError, match=r"record\.json is damaged: "):
        read_record(copied.record)


WRAPPINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {}, "args": {"lr": 0.1}},
    "net": lambda state: {"net": state, "acc": 91.2},
    "compiled": lambda state: {"model_state_dict": {f"_orig_mod.module.{key}": value for key, value in state.items()}},
    "twice": lambda state: {"state_dict": {"model": state}},
    "namespace": lambda state: {"model": state, "args": Namespace(lr=0.1)},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_what_scripts_wrap_weights_in_is_taken_off(tmp_path: Path, name: str) -> None:
    state = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    torch.save(WRAPPINGS[name](dict(state)), tmp_path / "x.pth")
    assert same(dict(read_weights(tmp_path / "x.pth")), dict(state))


def test_a_network_held_by_a_larger_module_is_found(copied: RunFolder, tmp_path: Path) -> None:
    run = runs.load(copied.path)
    held = {f"backbone.{name}": value for name, value in run.model.state_dict().items()}
    torch.save({"state_dict": held}, tmp_path / "lightning.ckpt")
    other = runs.load(copied.path, checkpoint=tmp_path / "lightning.ckpt")
    assert same(dict(other.model.state_dict()), dict(run.model.state_dict()))


def test_labels_of_other_classes_are_refused(copied: RunFolder) -> None:
    record = read_record(copied.record)
    assert record["class_names"] == [str(number) for number in range(10)]
    record["class_names"] = [str(number) for number in (0, 1, 9, 2, 3, 4, 5, 6, 7, 8)]
    write_json(copied.record, record)
    run = runs.load(copied.path)
    with pytest.raises(ValueError, match="has class '9' as label 2, which is '2' in the data now"):
        run.model  # noqa: B018


def test_a_run_of_before_had_numbered_folders_in_the_order_of_texts() -> None:
    stored = {"config": {"data": {"name": "folder"}}}
    check_class_names(stored, ["a", "b"], source="the run")
    with pytest.raises(ValueError, match="'10' as label 1, which is '2' in the data now"):
        check_class_names(stored, ["1", "2", "10"], source="the run")


def test_channels_that_do_not_fit_are_said_in_a_sentence(tiny_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.in_channels = 3, and the images of digits have 1: set model.in_cha"):
        runs.train(tiny_config("model.in_channels=3"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["record.json", "config.toml", "checkpoint.pt", "curves.png"])
def test_no_command_writes_over_the_files_of_a_run(copied: RunFolder, name: str) -> None:
    before = (copied.path / name).read_bytes()
    run = runs.load(copied.path)
    with pytest.raises(ConfigError, match="is a file of the run itself"):
        runs.evaluate(run, out=copied.path / name)
    from alignmixup.runs.pictures import picture_gallery

    with pytest.raises(ConfigError, match="is a file of the run itself"):
        picture_gallery(run, copied.path / name, methods=["mixup"])
    from alignmixup.cli import main

    style = ["train-style", "--data", "digits", "--overwrite"]
    for command in (["evaluate", str(copied.path)], ["report", str(copied.path)], style, ["benchmark", "alignment"]):
        assert main([*command, "--out", str(copied.path / name)]) == 1
    assert (copied.path / name).read_bytes() == before


@pytest.mark.parametrize("left", [".probe", ".config.toml.123.tmp"])
@pytest.mark.parametrize("mode", ["new", "resume", "overwrite"])
def test_what_a_killed_writer_left_is_swept(tmp_path: Path, left: str, mode: Any) -> None:
    (tmp_path / left).write_bytes(b"")
    RunFolder(tmp_path).claim(Config(), mode=mode)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_cut_off_is_not_filled_with_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match=r"not the whole configuration of a run: it lacks \[data\], .* --overwrite"):
        RunFolder(tmp_path).claim(Config(), mode="resume")
    assert RunFolder(tmp_path).claim(Config(), mode="overwrite") == "fresh"


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignmixup.files._PATIENCE", 0.0)
    folder = RunFolder(tmp_path / "run")
    with folder.locked(), pytest.raises(OSError, match=r"process .* on .* works in"), folder.locked():
        pass
    with folder.locked():
        pass


def test_an_evaluation_grows(copied: RunFolder) -> None:
    out, run = copied.path / "evaluation.json", runs.load(copied.path)
    whole = runs.evaluate(run, out=out, what=("calibration", "ood"), ood="uniform", limit=50)
    plain = runs.evaluate(run, out=out, what="error")
    assert plain["ood"] == whole["ood"]
    assert plain["calibration"] == whole["calibration"]
    assert plain["settings"]["parts"]["ood"]["limit"] == 50
    assert read_json(out) == json.loads(json.dumps(plain))
    others = {
        name: torch.rand_like(value) for name, value in run.model.state_dict().items() if value.is_floating_point()
    }
    file = copied.path / "other.pth"
    torch.save({**run.model.state_dict(), **others}, file)
    other = runs.load(copied.path, checkpoint=file)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"holds an evaluation of other weights .*: --overwrite replaces it, --out"):
        runs.evaluate(other, out=out, what="error")
    assert out.read_bytes() == before
    assert "ood" not in runs.evaluate(other, out=out, what="error", overwrite=True)


def test_a_report_leaves_out_an_evaluation_of_weights_that_are_gone(copied: RunFolder) -> None:
    from alignmixup.report.collect import find_runs

    runs.evaluate(runs.load(copied.path), out=copied.path / "evaluation.json", what="error")
    assert find_runs([copied.path])[0].evaluation["error_percent"] > 0
    record = read_record(copied.record)
    write_json(copied.record, record | {"weights_sha256": {copied.weights.name: "0" * 64}})
    assert find_runs([copied.path])[0].evaluation == {}


@pytest.mark.parametrize("text", ["0.5/0", "0.5,0.5/0.2", "a/b", "0.5/nan", "1/2/3", "123.7/58.4", "0/255"])
def test_means_and_deviations_by_number(text: str) -> None:
    assert mean_std("0.5/0.2", channels=3) == ((0.5,) * 3, (0.2,) * 3)
    assert mean_std("0.1,0.2,0.3/0.4,0.5,1", channels=3) == ((0.1, 0.2, 0.3), (0.4, 0.5, 1.0))
    with pytest.raises(ValueError, match=r"is not MEAN,\.\.\./STD"):
        mean_std(text, channels=1)
