"""What is said of records that are sent in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.cli import main
from alignmixup.report.collect import find_runs, write_records
from alignmixup.report.faults import faults

Make = Callable[..., Path]
Change = Callable[[dict[str, Any]], None]


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
    def change(record: dict[str, Any]) -> None:
        *tables, key = path.split(".")
        for table in tables:
            record = record[table]
        record[key] = value

    return change


def test_what_the_command_stores_has_none(stored: Path) -> None:
    assert faults(stored) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", 4, "seed is 4 and train.seed 0"),
        ("label", None, "has no label|label is None"),
        ("format", 7, "is no run record of format 1"),
        ("finished", False, "the run is not finished"),
        ("config.method.name", "mixpu", "method.name 'mixpu' is unknown; did you mean mixup"),
        ("config.train.epochs", 9, "the curve has 3 epochs, metrics.epochs says 3 and train.epochs 9"),
        ("config.model.weights", "/home/me/net.pth", "config.model.weights is a path of your machine, '/home/me/net"),
        ("revision.commit", None, "revision.commit names no commit"),
        ("environment.packages", {}, "does not say the version of torch"),
        ("metrics.seconds", 0.0, "seconds is 0.0"),
        ("metrics.images_per_second", -5.0, "images_per_second is -5.0"),
        ("metrics.best_error_percent", 12.0, "best_error_percent is 12.0000, and the curve makes it 30.0000"),
        ("metrics.last_error_percent", 12.0, "last_error_percent is 12.0000, and the curve makes it 30.0000"),
        ("metrics.last10_error_percent", 12.0, "last10_error_percent is 12.0000, and the curve makes it 30.0000"),
        ("metrics.seconds", "quick", "is damaged: metrics.seconds is 'quick'"),
        ("class_names", ["x" * 40_000], "letters, 30000 at most"),
    ],
)
def test_each_fault_is_one_line_that_names_it(stored: Path, path: str, value: Any, message: str) -> None:
    (found,) = changed(stored, put(path, value))
    assert "line 1" in found
    assert "\n" not in found
    assert any(part in found for part in message.split("|")), found


def test_one_run_is_not_taken_for_two_seeds(stored: Path) -> None:
    record = json.loads(stored.read_text(encoding="utf-8"))
    record.pop("sha256_of_the_rest", None)
    copied = json.loads(json.dumps(record))
    copied["seed"] = copied["config"]["train"]["seed"] = 1
    stored.write_text(f"{json.dumps(record)}\n{json.dumps(copied)}\n", encoding="utf-8")
    (found,) = faults(stored)
    assert "line 2: the curve is that of" in found
    assert "whose seed is 0" in found


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
