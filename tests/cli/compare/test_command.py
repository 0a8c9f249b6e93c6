"""``alignmixup compare``."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from alignmixup import runs
from alignmixup.cli import main
from alignmixup.cli.compare import command
from alignmixup.records import read_json
from alignmixup.runs.comparison import compare
from alignmixup.runs.jobs.queue import Job, Outcome
from alignmixup.training.trainer import Trainer

COMMAND = ["compare", "--methods", "baseline,mixup", "--seeds", "2"]


def test_table_results_and_figure_then_everything_is_read(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*COMMAND, *small]) == 0
    out = capsys.readouterr().out
    assert "baseline" in out
    assert "±" in out
    assert "s of training and evaluation in all" in out
    folder = Path("runs/digits")
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [(method["name"], method["seeds"]) for method in results["methods"]] == [
        ("baseline", [0, 1]),
        ("mixup", [0, 1]),
    ]
    for method in results["methods"]:
        errors = [
            json.loads((Path(path) / "record.json").read_text(encoding="utf-8"))["metrics"]["last10_error_percent"]
            for path in method["folders"]
        ]
        assert method["mean"]["last10_error_percent"] == pytest.approx(sum(errors) / 2)

    def forbidden(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(Trainer, "_train_step", forbidden)
    assert main([*COMMAND, *small]) == 0
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results


def test_an_interrupted_comparison_continues(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*COMMAND, *small]
    step, calls = Trainer._train_step, 0

    def stopping(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        nonlocal calls
        calls += 1
        self.stop_requested = calls == 7
        return step(self, x, y)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", stopping)
        patch.setattr("sys.argv", ["alignmixup", *command])
        assert main(command) == 130
    assert "Continue with:\n  alignmixup compare --methods baseline,mixup" in capsys.readouterr().err
    assert main(command) == 0
    assert len(list(Path("runs/digits").glob("*/record.json"))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "baseline,mixpu"], "no configuration file digits/mixpu; did you mean digits/mixup"),
        (["--data", "cifar1000"], "--data cifar1000: bundled configurations exist for cifar10, cifar100, "),
        (["--seeds", "0"], "--seeds must be >= 1, got 0"),
        (["--config", "digits/mixup", "cifar10/cutmix"], "use different data sets: cifar10, digits"),
        (["--config", "digits/mixup", "cifar10/mixup"], "two configurations are called mixup"),
        (["--jobs", "0"], "--jobs must be >= 1, got 0"),
        (["--sweep", "method.epsilon"], "--sweep method.epsilon: expected table.key=value,value"),
        (["--config", "digits/mixup", "--data", "cub"], "--data cub chooses bundled configurations: leave it or"),
        (["--config", "digits/mixup", "--recipe", "published"], "--recipe published chooses bundled configurations"),
        (["--recipe", "fast"], "--recipe fast: digits has published"),
    ],
)
def test_bad_input(small: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["compare", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_another_configuration_in_the_way_is_found_before_training(
    small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", "digits/mixup", *small, "train.seed=1", "optimizer.lr=0.01"]) == 0
    assert main([*COMMAND, *small]) == 1
    assert "mixup-seed1 holds a run of another configuration: optimizer.lr: 0.01 there" in capsys.readouterr().err
    assert not Path("runs/digits/baseline-seed0").exists()


def test_a_run_that_fails_is_reported_and_the_others_go_on(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["compare", "--methods", "baseline,alignmixup", "--seeds", "1", *small]
    command += ["--sweep", "method.layer=stage9,stage4"]
    monkeypatch.setattr("sys.argv", ["alignmixup", *command, "--overwrite"])
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "1 of 3 runs failed; the same command tries them again" in captured.err
    assert "alignmixup,layer=stage9-seed0: ConfigError: " in captured.err
    assert "[2/3] alignmixup,layer=stage9-seed0: failed" in captured.out
    folder = Path("runs/digits")
    assert "Traceback" in (folder / "alignmixup,layer=stage9-seed0.log").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [method["name"] for method in results["methods"]] == ["baseline", "alignmixup,layer=stage4"]
    assert results["methods"][1]["difference"]["baseline"] == "baseline"
    assert [failure["name"] for failure in results["failures"]] == ["alignmixup,layer=stage9-seed0"]
    assert results["command"].startswith("alignmixup compare --methods baseline,alignmixup")
    assert "--overwrite" not in results["command"]


def test_the_short_recipe_has_a_folder_of_its_own(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def stop(wanted: list[Job], root: Path, **_: object) -> list[Outcome]:
        seen.extend(job.folder.path for job in wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "_do_all", stop)
    command = ["compare", "--data", "cifar100", "--recipe", "fast", "--methods", "cutmix", "--seeds", "1"]
    assert main(command) == 130
    assert seen == [Path("runs/cifar100-fast/cutmix-seed0")]


def test_a_recipe_for_ones_own_images_has_a_folder_of_their_name(
    small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def stop(wanted: list[Job], root: Path, **_: object) -> list[Outcome]:
        seen.append(root)
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "_do_all", stop)
    asked = ["compare", "--data", "folder", "--methods", "mixup", "--set", "data.root=my/cats"]
    assert main(asked) == main([*asked, "--recipe", "lite0"]) == 130
    assert seen == [Path("runs/cats"), Path("runs/cats-lite0")]


def test_the_library_gives_what_the_command_writes(small: list[str]) -> None:
    assert main([*COMMAND, *small]) == 0
    written = read_json(Path("runs/digits/results.json"))
    results = runs.compare(
        ["digits/baseline", "digits/mixup"], seeds=2, overrides=small[1:], command=written["command"]
    )
    assert json.loads(json.dumps(results)) == written


def test_a_smaller_comparison_takes_nothing_from_a_larger_one(
    small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("runs/digits/results.json")
    assert main([*COMMAND, *small]) == 0
    larger = json.loads(file.read_text(encoding="utf-8"))
    assert main(["compare", "--methods", "mixup", "--seeds", "1", *small]) == 0
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert {method["name"]: sorted(method["seeds"]) for method in kept["methods"]} == {
        "mixup": [0, 1],
        "baseline": [0, 1],
    }
    rows = {method["name"]: method for method in kept["methods"]}
    for method in larger["methods"]:
        assert rows[method["name"]]["mean"] == pytest.approx(method["mean"])
    assert rows["mixup"]["difference"]["baseline"] == "baseline"
    capsys.readouterr()
    assert main(["compare", "--methods", "cutmix", "--seeds", "1", *small, "optimizer.lr=0.01"]) == 0
    assert json.loads(Path("runs/digits/results-1.json").read_text(encoding="utf-8")) == kept
    assert [method["name"] for method in json.loads(file.read_text(encoding="utf-8"))["methods"]] == ["cutmix"]


def test_a_missing_package_is_said_once(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["compare", *small]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("pip install") == 1
    assert "Error" not in captured.out
    assert not Path("runs").exists()


def test_the_demo_says_what_alignment_does(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    keys = [key for key in small if not key.startswith("model.strides")]
    assert main(["compare", "--methods", "alignmixup", "--seeds", "1", *keys]) == 0
    out = capsys.readouterr().out
    found = re.search(r"alignmixup-seed0, stage4, (\d+) x (\d+) positions, 100 pairs of test images: ", out)
    assert found
    assert min(int(found[1]), int(found[2])) >= 4
    moved = int(out.partition("test images: ")[2].split()[0])
    assert moved >= 5  # percent: the plan is not the identity


def test_the_demo_says_nearer_or_farther_without_a_sign() -> None:
    assert command._change(30.2) == "30 % nearer to"
    assert command._change(-42.0) == "42 % farther from"
    assert command._change(-0.3) == "0 % nearer to"


@pytest.mark.slow
def test_processes_side_by_side_give_the_same_records(small: list[str]) -> None:
    assert main([*COMMAND, *small, "--out", "here"]) == 0
    assert main([*COMMAND, *small, "--out", "there", "--jobs", "2"]) == 0
    for file in Path("here").glob("*/record.json"):
        one, other = (json.loads(Path(root, *file.parts[1:]).read_text(encoding="utf-8")) for root in ("here", "there"))
        assert one["config"] == other["config"]
        assert one["metrics"]["last_cross_entropy"] == pytest.approx(other["metrics"]["last_cross_entropy"], rel=1e-4)
    assert json.loads(Path("there/results.json").read_text(encoding="utf-8"))["failures"] == []
    assert not list(Path("there").glob("*.log"))
