"""``alignmixup compare``."""

import json
from pathlib import Path

import pytest
import torch

from alignmixup.cli import main
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
    results = json.loads((folder / "results.json").read_text())
    assert [(method["name"], method["seeds"]) for method in results["methods"]] == [
        ("baseline", [0, 1]),
        ("mixup", [0, 1]),
    ]
    for method in results["methods"]:
        errors = [
            json.loads((Path(path) / "record.json").read_text())["metrics"]["last10_error_percent"]
            for path in method["folders"]
        ]
        assert method["mean"]["last10_error_percent"] == pytest.approx(sum(errors) / 2)

    def forbidden(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(Trainer, "_train_step", forbidden)
    assert main([*COMMAND, *small]) == 0
    assert json.loads((folder / "results.json").read_text()) == results


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
        (["--data", "cifar1000"], "--data cifar1000: bundled configurations exist for cifar10, cifar100, digits"),
        (["--seeds", "0"], "--seeds must be >= 1, got 0"),
        (["--config", "digits/mixup", "cifar10/cutmix"], "use different data sets: cifar10, digits"),
        (["--config", "digits/mixup", "cifar10/mixup"], "two configurations are called mixup"),
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
