"""Whole runs: folder, record, weights, resumption after an interruption and after a kill."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.processes import in_processes
from torch.multiprocessing import ProcessExitedException

from alignmixup.records import read_record
from alignmixup.runs.evaluation import evaluate
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.loading import load as load_run
from alignmixup.runs.training import train
from alignmixup.training import checkpoint
from alignmixup.training.build import build_model, load_data
from alignmixup.training.config import Config
from alignmixup.training.trainer import InterruptedRunError, Trainer
from alignmixup.training.weights import load_model_weights

MakeConfig = Callable[..., Config]


def numbers(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in record["curve"]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The uninterrupted run that resumed ones must equal."""
    from alignmixup.training.config_file import load

    return train(load("digits/mixup", KILLED), RunFolder(tmp_path_factory.mktemp("reference") / "run"))


KILLED = [
    "data.subset=6",
    "model.width=4",
    "model.strides=[2,2,1,1]",
    "train.epochs=6",
    "train.batch_size=8",
    "train.device=cpu",
]


def test_a_run_leaves_everything_in_its_folder(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config, folder = tiny_config("train.ema_decay=0.5"), RunFolder(tmp_path / "run")
    record = train(config, folder)
    weights = {"model.safetensors", "model_best.safetensors", "model_raw.safetensors"}
    files = {"config.toml", "checkpoint.pt", "record.json", "curves.png"} | weights
    assert {file.name for file in folder.path.iterdir()} == files
    assert set(record["weights_sha256"]) == weights
    assert read_record(folder.record) == json.loads(json.dumps(record))
    assert len(record["curve"]) == 3
    assert record["curve"][0]["lr"] == config.optimizer.lr
    model = build_model(config, load_data(config))
    load_model_weights(folder.weights, model)
    assert record["metrics"]["parameters"] == sum(p.numel() for p in model.parameters())


CONSTANT = ("schedule.name=constant",)
ERRORS = [60.0, 40.0, 30.0, 30.0, 50.0]


def with_errors(monkeypatch: pytest.MonkeyPatch, errors: list[float]) -> None:
    """Let each epoch be tested with the error that is given for it."""
    evaluate = Trainer._evaluate
    monkeypatch.setattr(
        Trainer, "_evaluate", lambda self: evaluate(self) | {"error_percent": errors[self.epoch]}, raising=True
    )


@pytest.mark.parametrize("extra", [(), ("train.ema_decay=0.5",)])
def test_the_best_weights_are_those_of_the_first_lowest_error(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...]
) -> None:
    with_errors(monkeypatch, ERRORS)
    whole, third, broken = (RunFolder(tmp_path / name) for name in ("whole", "third", "broken"))
    record = train(tiny_config(*CONSTANT, *extra, "train.epochs=5"), whole)
    assert record["metrics"]["best_epoch"] == 2
    train(tiny_config(*CONSTANT, *extra, "train.epochs=3"), third)
    best = load_file(whole.best_weights)
    for file, same in ((third.weights, True), (whole.weights, False)):
        other = load_file(file)
        assert all(torch.equal(best[name], other[name]) for name in other) == same
    train(tiny_config(*CONSTANT, *extra, "train.epochs=4"), broken)
    train(tiny_config(*CONSTANT, *extra, "train.epochs=5"), broken, mode="resume")
    assert broken.best_weights.read_bytes() == whole.best_weights.read_bytes()


@pytest.mark.parametrize("fifth", [20.0, 50.0])
def test_an_older_checkpoint_gives_best_weights_of_a_lower_error_alone(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fifth: float
) -> None:
    with_errors(monkeypatch, [*ERRORS[:4], fifth])
    folder = RunFolder(tmp_path / "run")
    train(tiny_config(*CONSTANT, "train.epochs=4"), folder)
    state = checkpoint.load(folder.checkpoint)
    checkpoint.save(folder.checkpoint, {key: value for key, value in state.items() if key not in ("best", "format")})
    train(tiny_config(*CONSTANT, "train.epochs=5"), folder, mode="resume")
    assert folder.best_weights.is_file() == (fifth == 20.0)


def test_the_record_says_what_chose_the_best_epoch(tiny_config: MakeConfig, tmp_path: Path) -> None:
    for number, (held_out, chosen_on) in enumerate([("0.0", "the test set"), ("0.2", "held-out training images")]):
        config = tiny_config(f"data.validation={held_out}", "train.epochs=2")
        folder = RunFolder(tmp_path / str(number))
        record = train(config, folder)
        assert record["best_chosen_on"] == chosen_on
        measured = {name: evaluate(load_run(folder.path, weights=name), what="error") for name in ("best", "last")}
        for name in measured:
            assert measured[name]["error_percent"] == pytest.approx(record["metrics"][f"{name}_error_percent"])


def test_the_same_seed_gives_the_same_numbers(tiny_config: MakeConfig, tmp_path: Path) -> None:
    first = train(tiny_config(), RunFolder(tmp_path / "a"))
    torch.rand(5)
    second = train(tiny_config(), RunFolder(tmp_path / "b"))
    other = train(tiny_config("train.seed=1"), RunFolder(tmp_path / "c"))
    assert numbers(first) == numbers(second) != numbers(other)


def test_a_methods_own_parameters_are_trained_saved_and_continued(tiny_config: MakeConfig, tmp_path: Path) -> None:
    options = {"base": "digits/alignmixup_ae"}
    overrides = ("schedule.name=constant", "model.strides=[1,2,1,1]", "train.epochs=2", "train.ema_decay=0.5")
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    record = train(tiny_config(*overrides, **options), whole)
    train(tiny_config(*overrides, "train.epochs=1", **options), folder)
    half = checkpoint.load(folder.checkpoint)
    assert numbers(train(tiny_config(*overrides, **options), folder, mode="resume")) == numbers(record)
    first, second = (checkpoint.load(path.checkpoint) for path in (whole, folder))
    for part in ("model", "average"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    decoders = [state["ranks"][0]["mixer"]["decoder"] for state in (first, second, half)]
    assert all(torch.equal(decoders[0][name], decoders[1][name]) for name in decoders[0])
    assert not torch.equal(decoders[0]["exit.weight"], decoders[2]["exit.weight"])
    assert not any("decoder" in name for name in first["model"])


def test_a_finished_run_is_read_not_repeated(tiny_config: MakeConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    record = train(tiny_config(), folder)
    before = folder.checkpoint.stat().st_mtime_ns
    assert train(tiny_config(), folder, mode="resume") == json.loads(json.dumps(record))
    assert folder.checkpoint.stat().st_mtime_ns == before
    train(tiny_config(), folder, mode="overwrite")
    assert folder.checkpoint.stat().st_mtime_ns != before


def test_a_run_is_made_longer(tiny_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    steps = ("schedule.name=step", "schedule.milestones=[2]")
    whole = train(tiny_config(*steps), RunFolder(tmp_path / "whole"))
    folder = RunFolder(tmp_path / "run")
    train(tiny_config(*steps, "train.epochs=1"), folder)
    assert [one.message for one in caplog.records if "milestones" in one.message] == [
        "schedule.milestones = [2] are not reached in 1 epochs: the learning rate does not fall there"
    ]
    longer = train(tiny_config(*steps), folder, mode="resume")
    assert numbers(longer) == numbers(whole)
    assert "epochs = 3" in folder.config.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"3 epochs are trained already: train.epochs must be at least that"):
        train(tiny_config(*steps, "train.epochs=2"), folder, mode="resume")


def test_a_run_that_cannot_begin_leaves_no_folder(tiny_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[method\]"):
        train(tiny_config("method.alpha=-1.0"), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_overwriting_with_a_bad_configuration_keeps_the_old_run(tiny_config: MakeConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    train(tiny_config(), folder)
    with pytest.raises(ValueError, match=r"\[method\]"):
        train(tiny_config("method.alpha=-1.0"), folder, mode="overwrite")
    assert folder.state == "finished"


def test_a_signal_saves_and_the_handlers_come_back(
    tiny_config: MakeConfig, tmp_path: Path, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignmixup.training.config_file import load
    from alignmixup.training.trainer import Trainer

    config, folder = load("digits/mixup", KILLED), RunFolder(tmp_path / "run")
    step, calls = Trainer._train_step, 0

    def interrupted(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        nonlocal calls
        calls += 1
        if calls == 11:
            signal.raise_signal(signal.SIGINT)
        return step(self, x, y)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", interrupted)
        with pytest.raises(InterruptedRunError):
            train(config, folder)
    assert signal.getsignal(signal.SIGINT) is before
    assert folder.state == "started"
    assert numbers(train(config, folder, mode="resume")) == numbers(reference)


def train_until_it_is_killed(rank: int, folder: str) -> None:
    """In the middle of the second epoch."""
    from alignmixup.training.config_file import load

    step, taken = Trainer._train_step, [0]

    def counted(self: Trainer, x: torch.Tensor, y: torch.Tensor) -> bool:
        taken[0] += self.epoch == 1
        if taken[0] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, x, y)

    Trainer._train_step = counted  # type: ignore[method-assign]
    train(load("digits/mixup", KILLED), RunFolder(Path(folder)))


@pytest.mark.xdist_group("processes")
def test_a_killed_run_continues_to_the_same_numbers(tmp_path: Path, reference: dict[str, Any]) -> None:
    from alignmixup.training.config_file import load

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        in_processes(train_until_it_is_killed, str(folder.path))
    assert folder.checkpoint.is_file()
    assert folder.state == "started"
    assert numbers(train(load("digits/mixup", KILLED), folder, mode="resume")) == numbers(reference)


def test_killed_before_the_first_checkpoint_starts_again(tiny_config: MakeConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(tiny_config(), mode="new")
    folder.begin(tiny_config())
    assert len(train(tiny_config(), folder, mode="resume")["curve"]) == 3


@pytest.mark.slow
def test_compiled_run_gives_the_same_errors(tiny_config: MakeConfig, tmp_path: Path) -> None:
    import torch._dynamo

    compiled = torch.compile
    try:
        torch.compile = lambda model, mode: compiled(model, backend="eager")  # type: ignore[assignment]
        got = train(tiny_config("train.compile=true", base="digits/manifold_mixup"), RunFolder(tmp_path / "a"))
    finally:
        torch.compile = compiled
        torch._dynamo.reset()
    plain = train(tiny_config(base="digits/manifold_mixup"), RunFolder(tmp_path / "b"))
    for first, second in zip(numbers(got), numbers(plain), strict=True):
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-4)
