"""``alignmixup benchmark``."""

import json
from pathlib import Path

import pytest

from alignmixup.benchmarks.options import QUESTIONS
from alignmixup.cli import main


def test_writes_a_table_and_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "step", "--width", "4", "--batch", "2", "--size", "16", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "over baseline" in out
    record = json.loads(Path("runs/benchmarks/step.json").read_text(encoding="utf-8"))
    assert record["settings"]["batch"] == 2
    assert record["rows"][0]["case"] == "baseline"
    assert record["environment"]["threads"] >= 1


def test_help_names_every_question(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])
    text = capsys.readouterr().out
    assert all(question in text for question in QUESTIONS)


def test_bad_values_are_one_line(capsys) -> None:
    assert main(["benchmark", "alignment", "--shapes", "8x8"]) == 1
    assert capsys.readouterr().err == "alignmixup benchmark: a shape is BxCxHxW, such as 128x512x4x4, got '8x8'\n"
    assert main(["benchmark", "step", "--repeats", "0"]) == 1
    assert "--repeats must be >= 1" in capsys.readouterr().err
