"""What a record says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup.files import write_json
from alignmixup.records import last_ten, read_record
from alignmixup.runs.record import build_record, source_revision, summarise
from alignmixup.training.config import Config, TrainConfig


def curve(errors: list[float | None]) -> list[dict[str, Any]]:
    rows = []
    for epoch, error in enumerate(errors):
        row: dict[str, Any] = {"epoch": epoch, "images": 100, "train_seconds": 2.0, "train_loss": 1.0}
        if error is not None:
            row |= {
                "error_percent": error,
                "top5_error_percent": error / 2,
                "cross_entropy": 0.1,
                "evaluation_seconds": 0.5,
            }
        rows.append(row)
    return rows


def test_summary_by_hand() -> None:
    got = summarise(curve([50.0, None, *map(float, range(11, 0, -1)), 3.0]))
    assert (got["best_error_percent"], got["best_epoch"], got["last_error_percent"]) == (1.0, 12, 3.0)
    assert got["last10_error_percent"] == pytest.approx((sum(range(1, 10)) + 3) / 10)
    assert (got["seconds"], got["train_seconds"], got["images_per_second"], got["epochs"]) == (34.5, 28.0, 50.0, 14)


def test_the_mean_is_over_tests_of_the_last_ten_epochs_alone() -> None:
    sparse = [9.0 if epoch % 8 == 7 else None for epoch in range(24)]
    sparse[23] = 5.0
    assert summarise(curve(sparse))["last10_error_percent"] == 7.0  # epochs 15 and 23; not 7
    assert last_ten(curve([*[None] * 30, 4.0])) == [4.0]


def test_schema(tmp_path: Path) -> None:
    config = Config(train=TrainConfig(batch_size=8, accumulation=2, seed=3))
    record = build_record(config, curve([2.0]), parameters=12, device=torch.device("cpu"), world_size=2)
    write_json(tmp_path / "record.json", record)
    got = read_record(tmp_path / "record.json")
    assert got == json.loads(json.dumps(record))
    assert set(got) == {
        "format", "finished", "config", "seed", "metrics", "curve", "environment", "revision",
    }  # fmt: skip
    assert (got["seed"], got["metrics"]["parameters"]) == (3, 12)
    assert got["config"]["train"]["batch_size"] == 8
    assert {"python", "packages", "processor", "cores", "threads", "device", "gpu", "processes"} <= set(
        got["environment"]
    )
    assert got["environment"]["packages"]["torch"] == torch.__version__


def test_revision_is_a_commit_or_nothing() -> None:
    revision = source_revision()
    assert set(revision) == {"commit", "dirty"}
    assert revision["commit"] is None or len(revision["commit"]) == 40
    assert revision["dirty"] in (None, True, False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 7}'])
def test_no_record(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"record.json is (damaged or )?no"):
        read_record(file)


def test_missing_record(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the run is not finished, or this is no run folder"):
        read_record(tmp_path / "record.json")
