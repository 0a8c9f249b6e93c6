"""``alignmixup evaluate``."""

import json
from pathlib import Path

import pytest

from alignmixup.cli import main


def test_agrees_with_the_record_of_the_run(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "digits/mixup", *small, "train.ema_decay=0.5", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--set", "evaluation.batch_size=100"]) == 0
    assert "898 test images" in capsys.readouterr().out
    result = json.loads(Path("run/evaluation.json").read_text())
    metrics = json.loads(Path("run/record.json").read_text())["metrics"]
    assert result["error_percent"] == pytest.approx(metrics["last_error_percent"])
    assert result["cross_entropy"] == pytest.approx(metrics["last_cross_entropy"], rel=1e-5)
    assert main(["evaluate", "run", "--weights", "raw", "--out", "raw.json"]) == 0
    raw = json.loads(Path("raw.json").read_text())
    assert raw["weights"] == "model_raw.safetensors"
    assert raw["cross_entropy"] != result["cross_entropy"]


def test_bad_input(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere"]) == 1
    assert "nowhere is no run folder: it has no config.toml" in capsys.readouterr().err
    assert main(["train", "--config", "digits/mixup", *small, "--out", "run"]) == 0
    assert main(["evaluate", "run", "--set", "model.width=8"]) == 1
    assert "an evaluation can change data.root" in capsys.readouterr().err
    assert main(["evaluate", "run", "--weights", "raw"]) == 1
    assert "no weights at run/model_raw.safetensors" in capsys.readouterr().err
    Path("run/model.safetensors").write_bytes(b"garbled")
    assert main(["evaluate", "run"]) == 1
    assert "run/model.safetensors does not fit the model" in capsys.readouterr().err
