"""``alignmixup train-style``."""

from pathlib import Path

import pytest

from alignmixup import methods
from alignmixup.cli import main
from alignmixup.models.style_autoencoder import load_style_autoencoder

QUICK = ["--epochs", "1", "--batch-size", "16"]


def test_from_nothing_to_a_file_that_the_methods_take(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-style", "--data", "digits", "--out", "style/digits.safetensors", *QUICK, *small]) == 0
    out = capsys.readouterr().out
    assert "style/digits.safetensors: reconstruction " in out
    assert "dB, content loss " in out
    assert sorted(file.name for file in Path("style").iterdir()) == [
        "digits-classifier",
        "digits.png",
        "digits.safetensors",
    ]
    assert Path("style/digits.png").read_bytes().startswith(b"\x89PNG")
    options = {"autoencoder": "style/digits.safetensors", "gamma": "auto"}
    methods.build("stylecutmix", num_classes=10, mean=(0.3,), std=(0.4,), options=options)
    train = ["train", "--config", "digits/stylecutmix", *small]
    assert main([*train, "method.autoencoder=style/digits.safetensors", "method.gamma=auto", "train.epochs=1"]) == 0


def test_the_same_command_starts_from_a_finished_classifier(small: list[str]) -> None:
    command = ["train-style", "--data", "digits", "--out", "a.safetensors", *QUICK, *small]
    assert main(command) == 0
    record = Path("a-classifier/record.json").stat().st_mtime_ns
    Path("a.safetensors").unlink()
    assert main(command) == 0
    assert Path("a-classifier/record.json").stat().st_mtime_ns == record


def test_the_encoder_of_a_finished_run(small: list[str]) -> None:
    assert main(["train", "--config", "digits/mixup", *small, "--out", "run"]) == 0
    assert main(["train-style", "--run", "run", "--out", "a.safetensors", "--stages", "1", *QUICK]) == 0
    autoencoder = load_style_autoencoder("a.safetensors")
    assert autoencoder.settings["stages"] == 1
    assert autoencoder.settings["width"] == 4
    assert not Path("a-classifier").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.safetensors"], "--data or --run says which images to train on"),
        (["--data", "digits", "--out", "a"], "--out takes a file, such as a.safetensors, got a"),
        (["--data", "digits", "--out", "there.bin"], "there.bin is there already: --overwrite replaces it"),
        (["--data", "cifar", "--out", "a.bin"], "unknown data set 'cifar'; did you mean cifar"),
        (["--data", "digits", "--out", "a.bin", "--epochs", "0"], "style.epochs must be >= 1, got 0"),
        (["--data", "cifar10", "--out", "a.bin"], "cifar10 is not at data/cifar-10-batches-py"),
        (["--run", "nowhere", "--out", "a.bin"], "nowhere is no run folder: it has no config.toml"),
        (["--run", "nowhere", "--out", "a.bin", "--encoder", "vgg19"], "leave one of them out"),
    ],
)
def test_bad_input(small: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    Path("there.bin").write_bytes(b"precious")
    assert main(["train-style", *arguments]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("alignmixup train-style: ")
    assert message in captured
    assert Path("there.bin").read_bytes() == b"precious"


def test_what_a_run_decides(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "digits/mixup", *small, "--out", "run"]) == 0
    assert main(["train-style", "--run", "run", "--out", "a.bin", "--set", "model.width=8"]) == 1
    assert "--set model.width=8: with --run the run decides; open are data.root" in capsys.readouterr().err
    assert main(["train-style", "--run", "run", "--data", "cifar10", "--out", "a.bin"]) == 1
    assert "--data cifar10: the run's network was trained on digits" in capsys.readouterr().err
