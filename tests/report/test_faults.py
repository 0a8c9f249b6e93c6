"""What is said of records that are sent in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.cli import main
from alignmixup.report.collect import find_runs
from alignmixup.report.faults import faults
from alignmixup.report.storing import write_records

Make = Callable[..., Path]
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def stored(make: Make, tmp_path: Path) -> Path:
    """Two runs of mixup, stored."""
    return write_records(find_runs([make("mixup", 0, [30.0] * 3), make("mixup", 1, [20.0] * 12)][:1]), tmp_path / "out")


def changed(file: Path, change: Change) -> list[str]:
    (line,) = file.read_text(encoding="utf-8").splitlines()
    record = json.loads(line)
    record.pop("sha256_of_the_rest", None)
    change(record)
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return faults(file)


def put(path: str, value: Any) -> Change:
    if isinstance(value, tuple):  # of pairs: an object
        value = list(value) if path in ("curve", "class_names") else dict(value)

    def change(record: dict[str, Any]) -> None:
        place: Any = record
        *tables, key = (int(part) if part.isdigit() else part for part in path.split("."))
        for table in tables:
            place = place[table]
        place[key] = value

    return change


def test_what_the_command_stores_has_none(stored: Path) -> None:
    assert faults(stored) == []


WRONG: dict[str, dict[Any, str]] = {
    "format": {7: "is no run record of format 1"},
    "seed": {4: "seed is 4 and train.seed 0", "0": "seed is '0'"},
    "finished": {False: "the run is not finished"},
    "label": {
        None: "label is None",
        "": "label is ''",
        "mixup\n| fake |": "expected letters, digits and simple signs",
        "mixup\x1b[2J": "expected letters, digits and simple signs",
        "mixup<script>": "expected letters, digits and simple signs",
        "mixup" * 99: "200 at most",
        "alignmixup": "label is 'alignmixup' and method.name 'mixup': name the row after its method",
        "CutMix": "label is 'CutMix' and method.name 'mixup': name the row after its method",
    },
    "config.data.name": {"cifra10": "data.name 'cifra10' is unknown; did you mean cifar10"},
    "config.data.augment": {"crop9": "config.data.augment: unknown augmentation 'crop9'"},
    "config.data.subset": {-1: "data.subset must be >= 0, got -1"},
    "config.data.nmae": {"x": "unknown key data.nmae"},
    "config.data.test_split": {"`x`": "config.data.test_split is '`x`', with signs that steer a page"},
    "config.method.name": {"mixpu": "unknown method 'mixpu'; did you mean mixup"},
    "config.method.alpha": {-1.0: "alpha must be > 0"},
    "config.method.alhpa": {1.0: "method 'mixup' has no option 'alhpa'"},
    "config.model.name": {"resnet": "unknown model 'resnet'"},
    "config.model.width": {
        "wide": "width must be a whole number",
        0: "config.model: width must be an integer >= 1, got 0",
    }
    | {10**12: "config.model: width is 1000000000000, more than the 10000 that"},
    "config.model.weights": {"/home/me/net.pth": "config.model.weights is a path of your machine, '/home/me/net"},
    "config.optimizer.lr": {"fast": "optimizer.lr must be a number"},
    "config.train.epochs": {
        9: "the curve has 3 epochs, metrics.epochs says 3 and train.epochs 9",
        0: "train.epochs must be >= 1",
    },
    "revision": {"main": "revision is no object"},
    "revision.commit": dict.fromkeys([None, "", "main", "0123456; rm"], "revision.commit names no commit"),
    "revision.dirty": {None: "revision.dirty is None"},
    "environment": {0: "environment is no object"},
    "environment.packages": {(): "does not say the version of torch"},
    "environment.packages.torch": {3: "environment.packages.torch is 3"},
    "environment.processes": {
        0: "environment.processes is 0",
        3: "effective_batch_size is 32, which 3 processes cannot share evenly",
    },
    "effective_batch_size": {
        33: "effective_batch_size is 33, and train.batch_size x train.accumulation, of any number of processes, makes",
        **dict.fromkeys((16, 0, "32", 32.0), "makes it a multiple of 32"),
    },
    "best_chosen_on": {"held-out training images": "the configuration chose on the test set"},
    "weights_sha256": {(("model.safetensors", "abc"),): "holds what is no SHA-256"},
    "date": dict.fromkeys(["", "yesterday", "31.01.2026", "2026-02-30", "20260131", "9999-12-31"], "expected the day"),
    "metrics.seconds": {0.0: "metrics.seconds must be > 0, got 0", "quick": "metrics.seconds is 'quick'"},
    "metrics.train_seconds": {99.0: "metrics.train_seconds is 99, more than seconds, 90"},
    "metrics.images_per_second": {-5.0: "metrics.images_per_second must be > 0, got -5"},
    "metrics.parameters": {0: "metrics.parameters must be >= 1"},
    "metrics.best_error_percent": {12.0: "best_error_percent is 12.0000, and the curve makes it 30.0000"},
    "metrics.last_error_percent": {42.0: "last_error_percent is 42.0000, and the curve makes it 30.0000"},
    "metrics.last10_error_percent": {12.0: "last10_error_percent is 12.0000, and the curve makes it 30.0000"},
    "metrics.last_cross_entropy": {9.0: "last_cross_entropy is 9.0000, and the curve makes it 1.5000"},
    "metrics.last_top5_error_percent": {
        40.0: "last_top5_error_percent is 40, more than last_error_percent, 30",
        -1.0: "metrics.last_top5_error_percent must be in [0, 100], got -1",
    },
    "metrics.best_epoch": dict.fromkeys([3, 99], "the curve has its best elsewhere")
    | {-1: "metrics.best_epoch must be >= 0", "last": "metrics.best_epoch is 'last'"},
    "metrics.epochs": {4: "the curve has 3 epochs, metrics.epochs says 4 and train.epochs 3"},
    "curve": {(): "curve is no list of epochs"},
    "curve.1.epoch": {0: "curve is no list of epochs", -1: "curve is no list of epochs"},
    "curve.2.epoch": {7: "the curve has 8 epochs"},
    "class_names": {("x" * 60_000,): "letters, 50000 at most"},
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [(path, value, message) for path, cases in WRONG.items() for value, message in cases.items()],
)
def test_each_fault_is_one_line_that_names_it(stored: Path, path: str, value: Any, message: str) -> None:
    found = changed(stored, put(path, value))
    assert any(message in text for text in found), found
    assert all("line 1" in text and text.isprintable() for text in found)
    assert len(found) <= 2  # a number that is impossible may be another one's contradiction too


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("error_percent", 120.0, "evaluation.error_percent must be in [0, 100], got 120"),
        ("calibration", {"ece_percent": -1.0}, "evaluation.calibration.ece_percent must be in [0, 100], got -1"),
        ("settings", {"weights_sha256": "b" * 64}, "evaluation is of other weights than those of weights_sha256"),
    ],
)
def test_an_evaluation_is_of_the_run_and_in_its_range(stored: Path, part: str, value: Any, message: str) -> None:
    numbers = dict.fromkeys(
        ("ece_percent", "overconfidence_percent", "mean_confidence_percent", "accuracy_percent"), 5.0
    )
    measured: dict[str, Any] = {"error_percent": 20.0, "top5_error_percent": 5.0, "cross_entropy": 1.0}
    measured |= {"calibration": numbers | {"brier": 0.1}, "settings": {"weights_sha256": "a" * 64}}
    change = put("weights_sha256", (("model.safetensors", "a" * 64),))

    def evaluated(record: dict[str, Any]) -> None:
        change(record)
        record["evaluation"] = measured

    assert changed(stored, evaluated) == []
    measured[part] = measured[part] | value if isinstance(value, dict) else value
    (found,) = changed(stored, evaluated)
    assert message in found


@pytest.mark.parametrize(("images", "processes"), [(32, 2), (32, 4), (64, 1), (96, 3)])
def test_a_run_that_other_processes_ended_keeps_the_images_of_an_update(
    stored: Path, images: int, processes: int
) -> None:
    def change(record: dict[str, Any]) -> None:
        record["effective_batch_size"], record["environment"]["processes"] = images, processes

    assert changed(stored, change) == []


def test_a_number_means_the_same_with_and_without_a_point(make: Make, tmp_path: Path) -> None:
    folders = [
        make("mixup", seed, [30.0 - seed] * 3, overrides=(f"method.alpha={alpha}",))
        for seed, alpha in ((0, 1), (1, 1.0))
    ]
    assert faults(write_records(find_runs(folders), tmp_path / "out")) == []


@pytest.mark.parametrize("key", ["date", "environment", "revision", "effective_batch_size", "finished", "label"])
def test_what_is_missing_is_said(stored: Path, key: str) -> None:
    found = changed(stored, lambda record: record.pop(key))
    assert found
    assert any(key in text for text in found)


def test_a_curve_is_whole(stored: Path) -> None:
    (found,) = changed(stored, lambda record: record["curve"].pop(0))
    assert "the curve has 2 of 3 epochs: expected each one" in found


def test_tests_that_were_due_are_in_the_curve(stored: Path) -> None:
    (found,) = changed(stored, lambda record: record["curve"][1].pop("error_percent"))
    assert "the curve has no error of epoch 1, which evaluation.every = 1 tests" in found


def test_an_error_outside_0_to_100_percent_is_said(make: Make, tmp_path: Path) -> None:
    stored = write_records(find_runs([make("mixup", 0, [130.0] * 3)]), tmp_path / "out")
    found = faults(stored)
    assert len(found) == 6  # three metrics and three epochs
    assert all("must be in [0, 100], got 130" in text for text in found)


def test_no_code_that_a_record_names_is_run(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.chdir(tmp_path)
    for table in ("method", "model"):
        changed(stored, put(f"config.{table}.name", "planted:thing"))


def test_one_run_is_not_taken_for_two_methods(make: Make, tmp_path: Path) -> None:
    (found,) = faults(
        write_records(find_runs([make(name, 0, [30.0, 20.0]) for name in ("mixup", "cutmix")]), tmp_path / "out")
    )
    assert "line 2: the curve is that of" in found


def test_one_run_is_not_taken_for_two_seeds(stored: Path) -> None:
    record = json.loads(stored.read_text(encoding="utf-8"))
    record.pop("sha256_of_the_rest", None)
    copied = json.loads(json.dumps(record))
    copied["seed"] = copied["config"]["train"]["seed"] = 1
    stored.write_text(f"{json.dumps(record)}\n{json.dumps(copied)}\n", encoding="utf-8")
    (found,) = faults(stored)
    assert "line 2: the curve is that of" in found
    assert "of seed 0 and the configuration" in found


def test_all_faults_of_all_lines_are_said(stored: Path) -> None:
    text = stored.read_text(encoding="utf-8")
    stored.write_text(text + "{\n" + text, encoding="utf-8")
    found = faults(stored)
    assert len(found) == 2
    assert "line 2 is damaged or no JSON" in found[0]
    assert "line 3: mixup with seed 0 is there twice" in found[1]


def test_seeds_of_a_row_share_a_configuration(make: Make, tmp_path: Path) -> None:
    folders = [make("mixup", seed, [30.0 - seed] * 3, overrides=(f"optimizer.lr=0.{seed + 1}",)) for seed in range(2)]
    (found,) = faults(write_records(find_runs(folders), tmp_path / "out"))
    assert "give rows of different configurations different labels" in found


def test_the_command_prints_them_and_fails(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(stored.parent), "--check"]) == 0
    assert capsys.readouterr().out == ""
    changed(stored, put("finished", False))
    assert main(["report", str(stored), "--check"]) == 1
    assert capsys.readouterr().out == f"{stored}, line 1: the run is not finished\n"
    assert main(["report", str(stored.parents[1] / "runs"), "--check"]) == 1
    assert "holds no records.jsonl: store the runs first" in capsys.readouterr().err
