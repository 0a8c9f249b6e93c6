"""Which runs of an earlier comparison stay, and the commands of all rows."""

import json
from pathlib import Path

import pytest
from tests.runs.comparison.conftest import finish, own, rows

from alignmixup import runs
from alignmixup.records import read_json
from alignmixup.training.config_file import load


def test_seeds_of_another_configuration_are_set_aside(trained: list[str], caplog: pytest.LogCaptureFixture) -> None:
    file = own("mine.toml", "[optimizer]\nlr = 0.1")
    runs.compare([file, "digits/cutmix"], seeds=3, out="all")
    own("mine.toml", "[optimizer]\nlr = 0.2")
    with pytest.raises(ValueError, match=r"another configuration: optimizer\.lr"):
        runs.compare([file], seeds=1, out="all")
    Path("all/mine-seed0").rename("gone")
    found = runs.compare([file], seeds=1, out="all")
    assert rows(found) == {"mine": [0], "cutmix": [0, 1, 2]}
    assert "mine-seed1 is a run of another configuration: optimizer.lr: 0.1 there, 0.2 now" in caplog.text
    assert rows(read_json(Path("all/results-1.json"))) == {"mine": [0, 1, 2], "cutmix": [0, 1, 2]}
    assert rows(read_json(Path("all/results.json"))) == rows(found)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [("train.epochs=7", "train.epochs: 7 there"), ("method.alpha=0.5", "method.alpha: 0.5 there, 1.0 now")],
)
def test_seeds_kept_of_one_row_agree_among_themselves(
    trained: list[str], caplog: pytest.LogCaptureFixture, changed: str, reason: str
) -> None:
    constant = ["schedule.name=constant", "train.epochs=5"]
    runs.compare(["digits/mixup"], seeds=3, out="all", overrides=constant)
    other = load("digits/mixup", [*constant, changed, "train.seed=1"])
    finish(Path("all/mixup-seed1"), other)
    found = runs.compare(["digits/cutmix"], seeds=1, out="all", overrides=constant)
    assert rows(found) == {"cutmix": [0], "mixup": [0, 2]}
    assert reason in caplog.text
    assert Path("all/results-1.json").is_file()


def test_a_run_that_is_no_longer_finished_is_told_of(trained: list[str], caplog: pytest.LogCaptureFixture) -> None:
    runs.compare(["digits/mixup"], seeds=2, out="all")
    Path("all/mixup-seed1/record.json").unlink()
    assert rows(runs.compare(["digits/cutmix"], seeds=1, out="all")) == {"cutmix": [0], "mixup": [0]}
    assert "mixup-seed1 is not finished any more; the results that" in caplog.text


@pytest.mark.parametrize(
    ("name", "seed", "reason"),
    [
        ("cifar10/small/baseline", 1, "another configuration: images: cifar10 there, digits now"),
        ("digits/baseline", 0, "baseline-seed1 is once more baseline with seed 0"),
    ],
)
def test_a_folder_that_holds_another_run_than_its_name_says_is_left_out(
    trained: list[str], caplog: pytest.LogCaptureFixture, name: str, seed: int, reason: str
) -> None:
    runs.compare(["digits/baseline"], seeds=2, out="all")
    finish(Path("all/baseline-seed1"), load(name, [f"train.seed={seed}"]))
    assert rows(runs.compare(["digits/mixup"], seeds=2, out="all")) == {"mixup": [0, 1], "baseline": [0]}
    assert reason in caplog.text


def test_an_automatic_precision_is_what_it_turned_out_to_be(trained: list[str]) -> None:
    automatic = ["train.precision=auto"]
    runs.compare(["digits/baseline"], seeds=2, out="all", overrides=automatic)
    found = runs.compare(["digits/mixup"], seeds=1, out="all", overrides=automatic)
    assert rows(found) == {"mixup": [0], "baseline": [0, 1]}
    assert "differing" not in found["methods"][0]["difference"]
    assert not Path("all/results-1.json").exists()


def test_the_commands_of_all_rows_are_kept(trained: list[str]) -> None:
    runs.compare(["digits/baseline"], seeds=2, out="all", command="first")
    runs.compare(["digits/mixup"], seeds=1, out="all", command="second")
    found = runs.compare(["digits/mixup"], seeds=1, out="all", command="second")
    assert (found["command"], found["commands"]) == ("second", ["first", "second"])
    found = runs.compare(["digits/baseline", "digits/mixup"], seeds=2, out="all", command="third")
    assert (found["command"], found["commands"]) == ("third", ["third"])  # which makes every row


def test_an_older_file_names_its_last_command_alone(trained: list[str]) -> None:
    runs.compare(["digits/baseline"], seeds=1, out="all", command="first")
    content = json.loads(Path("all/results.json").read_text(encoding="utf-8"))
    del content["commands"], content["sha256_of_the_rest"]
    Path("all/results.json").write_text(json.dumps(content), encoding="utf-8")
    assert runs.compare(["digits/mixup"], seeds=1, out="all", command="second")["commands"] == ["first", "second"]
