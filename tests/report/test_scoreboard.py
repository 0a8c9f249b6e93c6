"""The scoreboard of stored records."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.report.collect import find_runs
from alignmixup.report.scoreboard import build_scoreboard
from alignmixup.report.storing import write_records

Make = Callable[..., Path]


def test_rows_stand_by_recipe_and_error_with_what_makes_them_again(make: Make, tmp_path: Path) -> None:
    errors = {"baseline": 30.0, "mixup": 20.0, "cutmix": 25.0}
    folders = [make(name, seed, [error + seed] * 3) for name, error in errors.items() for seed in range(3)]
    write_records(find_runs(folders), tmp_path / "results" / "mine")
    slow = [
        make("mixup", seed, [10.0] * 4, root="slow", overrides=("optimizer.lr=0.3",)) for seed in range(2)
    ]  # two seeds are too few
    write_records(find_runs(slow), tmp_path / "results" / "slow")
    page = build_scoreboard(tmp_path / "results")
    rows = [line.split(" | ") for line in page.splitlines() if line.endswith("| mine |")]
    assert [row[0].strip("| ") for row in rows] == ["Mixup", "CutMix", "Baseline"]
    assert rows[0][1:5] == ["21.00 ± 1.00", "-10.00 ± 0.00", "21.00 ± 1.00", "3"]
    assert rows[0][6] == "0123456"
    assert "| slow |" not in page
    (command,) = [line for line in page.splitlines() if line.startswith(rows[0][7])]
    assert shlex.split(command)[1:5] == ["alignmixup", "train", "--config", "digits/mixup"]
    assert "## Digits: preact_resnet18, width 8, " in page


def test_a_key_that_is_newer_than_a_record_makes_no_other_recipe(make: Make, tmp_path: Path) -> None:
    runs = find_runs([make(name, seed, [20.0] * 3) for name in ("baseline", "mixup") for seed in range(3)])
    for run in runs[:3]:
        del run.record["config"]["optimizer"]["layer_decay"]
    write_records(runs, tmp_path / "results" / "mine")
    page = build_scoreboard(tmp_path / "results")
    assert page.count("\n## ") == 2  # how to send in, and one recipe


def test_a_long_tail_is_a_recipe_of_its_own(make: Make, tmp_path: Path) -> None:
    for tail in ("1", "50"):
        keys = ("data.subset=60", f"data.imbalance={tail}")
        names = [(name, seed) for name in ("baseline", "mixup") for seed in range(3)]
        runs = [make(name, seed, [20.0] * 3, root=tail, overrides=keys) for name, seed in names]
        write_records(find_runs(runs), tmp_path / "results" / tail)
    page = build_scoreboard(tmp_path / "results")
    assert "## Digits, 60 images a class: preact" in page
    assert "## Digits, 60 images a class, imbalance 50: preact" in page


def test_no_records_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no records"):
        build_scoreboard(tmp_path)
