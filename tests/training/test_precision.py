"""What "auto" means: measured on a CPU, read from a GPU, said in one line, settled once for a run."""

import logging
from contextlib import closing

import pytest
import torch
from torch import nn

from alignmixup.functional.transport import plan as transport
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.training import train
from alignmixup.training import precision
from alignmixup.training.config import TrainConfig
from alignmixup.training.config_file import load
from alignmixup.training.engine import Engine
from alignmixup.training.precision import choose_precision, relative_time

CPU = torch.device("cpu")
TINY = ["train.device=cpu", "train.epochs=1", "data.subset=8", "train.precision=auto"]


@pytest.fixture
def measured(monkeypatch):
    """Function that sets what the measurement will find; the list of measurements made."""
    made = []

    def find(share):
        monkeypatch.setattr(precision, "relative_time", lambda: made.append(share) or share)
        return made

    return find


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_what_is_named_is_taken_without_a_word(name, measured, caplog):
    made = measured(0.1)
    assert choose_precision(name, CPU) == name
    assert not made
    assert not caplog.records


@pytest.mark.parametrize(("share", "chosen"), [(0.55, "bf16"), (0.89, "bf16"), (0.95, "fp32"), (2.0, "fp32")])
def test_a_cpu_is_measured_and_the_choice_is_one_line(share, chosen, measured, caplog):
    made = measured(share)
    with caplog.at_level(logging.INFO, "alignmixup"):
        assert choose_precision("auto", CPU) == chosen
        assert choose_precision("auto", CPU, speak=False) == chosen
    assert made == [share, share]
    (record,) = caplog.records
    assert record.getMessage() == (
        f'train.precision = "auto" is {chosen} here: a layer in bf16 takes {share:.2f} of its time in fp32'
    )


@pytest.mark.parametrize(("supported", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_says_whether_it_has_bf16(supported, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert choose_precision("auto", torch.device("cuda")) == chosen
    assert choose_precision("auto", torch.device("mps")) == "fp32"


def test_the_measurement_is_short_and_draws_nothing():
    state = torch.get_rng_state()
    assert 0.01 < relative_time(0.0) < 100
    assert torch.equal(torch.get_rng_state(), state)


def test_the_choice_is_the_runs_own_and_outlives_the_machine(tmp_path, measured):
    """A resumed or repeated run computes as it began, whatever a second measurement would find."""
    made = measured(0.5)
    record = train(load("digits/alignmixup", TINY), RunFolder(tmp_path / "run"))
    assert record["config"]["train"]["precision"] == "bf16"
    assert RunFolder(tmp_path / "run").read_config().train.precision == "bf16"
    measured(2.0)
    again = train(load("digits/alignmixup", TINY), RunFolder(tmp_path / "run"), mode="resume")
    assert again["config"]["train"]["precision"] == "bf16"
    assert len(made) == 1
    with pytest.raises(ValueError, match=r"train.precision: \"?bf16\"? there, \"?fp32\"? now"):
        train(load("digits/alignmixup", [*TINY, "train.precision=fp32"]), RunFolder(tmp_path / "run"), mode="resume")
    overwritten = train(load("digits/alignmixup", TINY), RunFolder(tmp_path / "run"), mode="overwrite")
    assert overwritten["config"]["train"]["precision"] == "fp32"


def test_plans_and_losses_stay_float32(tmp_path, measured, monkeypatch):
    from alignmixup.training.trainer import Trainer

    measured(0.5)
    plans, losses, solve, step = [], [], transport._solve, Trainer._train_step

    def solving(cost, **options):
        plan, rounds = solve(cost, **options)
        plans.append((cost.dtype, plan.dtype))
        return plan, rounds

    def stepping(self, x, y):
        criterion = self.criterion

        def watched(logits, *rest, **options):
            loss = criterion(logits, *rest, **options)
            losses.append((logits.dtype, loss.dtype))
            return loss

        self.criterion = watched
        try:
            return step(self, x, y)
        finally:
            self.criterion = criterion

    monkeypatch.setattr(transport, "_solve", solving)
    monkeypatch.setattr(Trainer, "_train_step", stepping)
    train(load("digits/alignmixup", [*TINY, "method.input_probability=0"]), RunFolder(tmp_path / "run"))
    assert set(plans) == {(torch.float32, torch.float32)}
    assert {loss for _, loss in losses} == {torch.float32}
    assert {logits for logits, _ in losses} == {torch.bfloat16}  # so autocast was on


def test_the_engine_computes_in_what_was_chosen(measured):
    measured(0.5)
    with closing(Engine(TrainConfig(device="cpu", precision="auto"))) as engine:
        assert engine.precision == "bf16"
        with engine.autocast():
            assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
