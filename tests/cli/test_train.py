"""``alignmixup train``."""

import json
from pathlib import Path

import pytest
import torch

from alignmixup.cli import main
from alignmixup.training.config_file import load
from alignmixup.training.trainer import Trainer


def test_trains_into_the_default_folder(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "digits/cutmix", *small, "train.seed=3"]) == 0
    folder = Path("runs/digits/cutmix-seed3")
    names = {"config.toml", "checkpoint.pt", "model.safetensors", "model_best.safetensors", "record.json", "curves.png"}
    assert {file.name for file in folder.iterdir()} == names
    assert load(folder / "config.toml").method.options == {"alpha": 1.0, "probability": 0.5}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "epoch 2/2" in out
    assert f"{folder}: error " in out


def test_a_finished_run_is_refused_kept_or_deleted(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--config", "digits/mixup", *small]
    assert main(command) == 0
    first = json.loads(Path("runs/digits/mixup-seed0/record.json").read_text(encoding="utf-8"))
    assert main(command) == 1
    assert "holds a finished run: --resume keeps it, --overwrite deletes it" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert json.loads(Path("runs/digits/mixup-seed0/record.json").read_text(encoding="utf-8")) == first
    assert main([*command, "optimizer.lr=0.01", "--resume"]) == 1
    assert "another configuration: optimizer.lr: " in capsys.readouterr().err
    assert main([*command, "optimizer.lr=0.01", "--overwrite"]) == 0


def test_an_interruption_says_how_to_continue(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._train_step

    def stopping(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        self.stop_requested = True
        return step(self, x, y)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", stopping)
        assert main(["train", "--config", "digits/mixup", *small, "--out", "my runs/a"]) == 130
    message = capsys.readouterr().err
    assert "everything is saved. Continue with:\n  alignmixup train --resume --out 'my runs/a'\n" in message
    assert main(["train", "--resume", "--out", "my runs/a"]) == 0
    assert len(json.loads(Path("my runs/a/record.json").read_text(encoding="utf-8"))["curve"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer.lrr=1"], "--set optimizer.lrr=1: unknown key optimizer.lrr; did you mean optimizer.lr?"),
        (["train.device=cuda"], 'train.device = "cuda" is not available on this machine'),
        (["method.alpha=-1.0"], "[method]: alpha must be > 0, got -1.0"),
        (["method.name=alignmixpu"], "[method]: unknown method 'alignmixpu'; did you mean alignmixup"),
        (["model.widht=4"], "[model]: model 'preact_resnet18' has no option 'widht'"),
        (["data.name=digist"], "digits"),
        (["data.name=cifar10", "data.root=nowhere"], "nowhere"),
        (["train.trackers=[\"wandb\"]", "train.epochs=1"], "pip install wandb"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    small: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--config", "digits/mixup", *small, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("alignmixup train: ")
    assert not list(Path("runs").rglob("*.*"))


def test_a_start_that_diverges_leaves_nothing_in_the_way(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--config", "digits/mixup", *small]
    assert main([*command, "optimizer.lr=1e30"]) == 1
    assert "finite" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*.*"))
    assert main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "cutmix"], "--method goes with --data DIR; elsewhere it is --set method.name=NAME"),
        (["--freeze"], "--freeze goes with --data DIR; elsewhere it is --set optimizer.freeze=true"),
        (["--data", "x", "--config", "digits/cutmix"], "--data has its own recipe"),
        (["--data", "nowhere"], "nowhere is no folder"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_network_and_a_method_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names in a file of the current folder, and evaluated by the same names."""
    monkeypatch.chdir(tmp_path)
    Path("my_parts_for_training.py").write_text(
        "from torch import nn\n"
        "from alignmixup import CutMix\n"
        "class MyMix(CutMix):\n"
        "    pass\n"
        "def build(num_classes, width=3, in_channels=1):\n"
        "    head = nn.Linear(64 * width, num_classes)\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.Flatten(), head)\n",
        encoding="utf-8",
    )
    keys = ["model.name=my_parts_for_training:build", "model.width=2", "method.name=my_parts_for_training:MyMix"]
    keys += ["data.subset=6", "train.epochs=2", "train.device=cpu"]
    assert main(["train", "--config", "digits/baseline", "--out", "run", "--set", *keys, "method.alpha=0.5"]) == 0
    assert load("run/config.toml").model.options == {"width": 2}
    assert main(["evaluate", "run", "--what", "error"]) == 1  # it could be anyone's
    assert main(["evaluate", "run", "--what", "error", "--trust"]) == 0
    trained = json.loads(Path("run/record.json").read_text(encoding="utf-8"))["metrics"]["last_error_percent"]
    evaluated = json.loads(Path("run/evaluation.json").read_text(encoding="utf-8"))
    assert evaluated["error_percent"] == pytest.approx(trained)
