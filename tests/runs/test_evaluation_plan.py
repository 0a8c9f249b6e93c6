"""Settings hold what the numbers depend on and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

from alignmixup.evaluation.attacks import Attack
from alignmixup.runs.evaluation_plan import CONVENTIONS, PARTS, Plan, settings_of
from alignmixup.runs.network import Subject
from alignmixup.training.config_file import load


def subject(tmp_path, *overrides):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    return Subject("run", load("digits/mixup", overrides), file, "mixup", 0, None)


def test_survives_json(tmp_path):
    plan = Plan(parts=PARTS, attacks=(Attack(),), kinds=("fog",), severities=(1,), corruption_folder=Path("c"))
    settings = settings_of(subject(tmp_path), plan)
    assert json.loads(json.dumps(settings)) == settings


def test_what_changes_the_numbers_changes_the_settings(tmp_path):
    plan = Plan(parts=("error", "attacks"), attacks=(Attack(),), bins=15)
    usual = settings_of(subject(tmp_path), plan)
    assert settings_of(subject(tmp_path), replace(plan, bins=10)) == usual  # no calibration: no bins
    assert settings_of(subject(tmp_path), replace(plan, batch_size=3)) == usual
    assert settings_of(subject(tmp_path, "data.root=x", "train.device=cpu"), plan) == usual
    assert settings_of(subject(tmp_path), replace(plan, attacks=(Attack(iterations=50),))) != usual
    assert settings_of(subject(tmp_path), replace(plan, limit=5)) != usual
    assert settings_of(subject(tmp_path, "train.precision=bf16"), plan) != usual
    other = subject(tmp_path)
    other.weights.write_bytes(b"abd")
    assert settings_of(other, plan) != usual


def test_conventions_are_of_known_parts():
    assert set(CONVENTIONS) - {"weights"} <= set(PARTS)
