"""The GPU report, rehearsed on the CPU: whole, with a stage that fails, stopped and gone on with."""

import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import page, training
from benchmarks.gpu.images import pack, unpack
from benchmarks.gpu.stages import STAGES
from benchmarks.gpu.task import Findings, Task

from alignmixup.data.sets.cifar import load_cifar
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.training import train
from alignmixup.training import checkpoint
from alignmixup.training.trainer import InterruptedRunError, Trainer


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A root with a CIFAR-100 of two training images and one test image a class."""
    root = tmp_path_factory.mktemp("release")
    folder = root / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("test", 100)):
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [int(label) for label in np.arange(count) % 100]
        (folder / split).write_bytes(pickle.dumps({"data": pixels, "fine_labels": labels}, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {n}" for n in range(100)]}, protocol=2))
    return root


def task(tmp_path, data, **changes) -> Task:
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    given = {"device": "cpu", "toy": True, "data": data, "work": work, "out": out, "resume": None, "seconds": 30.0}
    return Task(**{**given, **changes})


def test_packed_images_are_the_first_of_each_class_pixel_by_pixel(release, tmp_path):
    packed = tmp_path / "images.zip"
    assert pack(release, packed, mib=10.0) == (200, 100)
    one, other = (load_cifar("cifar100", root=root) for root in (release, unpack(packed, tmp_path / "images")))
    for first, second in ((one.train, other.train), (one.test, other.test)):
        for label in range(100):
            assert torch.equal(first.images[first.labels == label], second.images[second.labels == label])
    assert one.class_names == other.class_names
    half = packed.stat().st_size / 2**20 * 0.8
    assert pack(release, packed, mib=half) == (100, 100)
    assert packed.stat().st_size <= half * 2**20
    with pytest.raises(ValueError, match="holds not even one image of each class"):
        pack(release, packed, mib=0.01)


def test_a_failing_part_is_written_down_and_the_rest_goes_on(tmp_path):
    findings = Findings(tmp_path / "stage.json")
    findings.part("first", lambda: 1 / 0)
    findings.part("second", lambda: [{"a": 1.0, "b": float("nan")}])
    found = page.read(tmp_path / "stage.json")
    assert "ZeroDivisionError" in found["first"]["failed"]
    assert found["second"] == [{"a": 1.0, "b": "nan"}]
    stage = {"status": "done", "seconds": 1.0, "allowed": 2.0, "found": found, "error": ""}
    assert not command._good(stage)
    page.write(tmp_path, {"command": "x", "seconds": 1.0, "lacks": ["y"], "stages": {"machine": stage}})
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "Lacking: y." in text
    assert "| machine | done |" in text
    assert "**first** failed:" in text
    assert "| 1.00 | nan |" in text


@pytest.mark.parametrize("deaf", [False, True])
def test_a_stage_ends_with_its_time(deaf, monkeypatch):
    code = f"import signal, time; signal.signal(signal.SIGTERM, {int(deaf)}); time.sleep(60)"
    monkeypatch.setattr(command, "GRACE", 0.5)
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    assert command._wait(process, 2.0) == "stopped at the end of its time"
    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)


def test_without_a_gpu_it_says_so_and_does_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "lacks a GPU that torch sees: add --toy" in said
    assert "lacks CIFAR-100 at" in said
    assert not (tmp_path / "out" / "gpu.json").exists()


def test_the_time_of_all_stages_is_within_what_was_given():
    assert sum(command.BUDGETS.values()) + command.GRACE <= 9 * 60 + command.GRACE
    assert set(command.BUDGETS) == set(STAGES)


def test_a_stopped_training_is_carried_away_in_pieces_and_gone_on_with(release, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PIECE", 100_000)
    monkeypatch.setattr(training, "_plan", lambda *_: 3)
    first = task(tmp_path, release)
    step, steps = Trainer._train_step, []

    def stopping(self, x, y):
        steps.append(self.epoch)
        self.stop_requested = len(steps) == 30  # in the second epoch of the first run
        return step(self, x, y)

    monkeypatch.setattr(Trainer, "_train_step", stopping)
    findings = Findings(tmp_path / "training.json")
    training.train(first, findings)
    found = page.read(tmp_path / "training.json")
    assert "go on with --resume" in found["baseline, unfinished"]
    assert "alignmixup" not in found
    pieces = list(first.out.glob("baseline.checkpoint.*"))
    assert len(pieces) > 1
    stages = {"training": {"found": found}}
    (first.out / "gpu.json").write_text(json.dumps({"stages": stages}))

    (tmp_path / "second").mkdir()
    second = task(tmp_path / "second", release, resume=first.out)
    done = len(steps)
    training.train(second, Findings(tmp_path / "second.json"))
    found = page.read(tmp_path / "second.json")
    assert found["epochs"] == found["baseline"]["epochs"] == found["alignmixup"]["epochs"] == 3
    assert len(steps) - done == 3 * 25 - 30 + 3 * 25
    assert not list(second.out.glob("*.checkpoint.*"))


def test_a_checkpoint_of_half_the_size_holds_the_same_state(release, tmp_path, monkeypatch):
    one = task(tmp_path, release)
    config, folder = training._config(one, release, "baseline", 3), RunFolder(tmp_path / "run")
    epoch = Trainer._train_epoch
    monkeypatch.setattr(Trainer, "_train_epoch", lambda self: [epoch(self), setattr(self, "stop_requested", True)])
    with pytest.raises(InterruptedRunError):
        train(config, folder)
    training.keep(folder, one.out, "baseline")
    again = RunFolder(tmp_path / "again")
    training.restore(one.out, "baseline", config, again)
    before, after = (checkpoint.load(f.checkpoint) for f in (folder, again))
    assert sum(piece.stat().st_size for piece in one.out.iterdir()) < 0.65 * folder.checkpoint.stat().st_size
    for key, value in before["model"].items():
        torch.testing.assert_close(after["model"][key], value, rtol=1e-3, atol=1e-6)
    assert after["progress"] == before["progress"]
    assert again.read_config() == folder.read_config()


@pytest.mark.slow
@pytest.mark.timeout(30 * 60)  # what the report is given
@pytest.mark.parametrize("damaged", [False, True])
def test_the_whole_report_at_toy_size(release, tmp_path, damaged):
    data = tmp_path / "images.zip"
    pack(release, data, mib=10.0)
    if damaged:  # a stage that fails
        data.write_bytes(data.read_bytes()[:1000])
    out = tmp_path / "out"
    code = command.main(["--toy", "--out", str(out), "--data", str(data), "--minutes", "30"])
    report = page.read(out / "gpu.json")
    failed = [name for name, stage in report["stages"].items() if not command._good(stage)]
    assert failed == (["training"] if damaged else [])
    assert code == int(damaged)
    assert list(report["stages"]) == list(STAGES)
    assert "BadZipFile" in report["stages"]["training"]["error"] or not damaged
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert all(path.stat().st_size <= 16 * 2**20 for path in files)
