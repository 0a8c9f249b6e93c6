"""Losses of an epoch: kept on the device, shown now and then, refused where they are not finite."""

import time
from typing import Any

import pytest
import torch

from alignmixup.training.progress.display import Reporter
from alignmixup.training.progress.epoch_log import EpochLog


class Listener(Reporter):
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def step(self, **values: Any) -> None:
        self.heard.append(values)


def make(steps: int, listener: Listener) -> EpochLog:
    return EpochLog(steps, device=torch.device("cpu"), reporter=listener, remedy="a smaller step")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_the_mean_of_the_last_losses_is_shown_a_few_times_a_second(clock: list[float]) -> None:
    listener = Listener()
    log = make(100, listener)
    log.begin(3)
    for step in range(100):
        clock[0] += 0.0625
        log.add(torch.tensor(float(step)), 2)
    log.end()
    assert [heard["step"] for heard in listener.heard] == list(range(4, 101, 4))
    assert listener.heard[-1] == {"epoch": 3, "step": 100, "loss": sum(range(50, 100)) / 50, "images_per_second": 32.0}
    assert log.losses.tolist() == list(range(100))
    assert log.seconds == 6.25


def test_an_epoch_goes_on_where_it_was_interrupted(clock: list[float]) -> None:
    log = make(4, Listener())
    log.resume(torch.tensor([1.0, 2.0]), seconds=5.0)
    log.begin(1)
    clock[0] += 1
    log.add(torch.tensor(3.0, requires_grad=True), 1)
    log.end()
    assert (log.step, log.seconds, log.losses.tolist()) == (3, 6.0, [1.0, 2.0, 3.0, 0.0])
    assert not log.losses.requires_grad
    log.clear()
    assert (log.step, log.seconds) == (0, 0.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named(clock: list[float], bad: float) -> None:
    message = r"loss is not finite at epoch 2 step 1 \(from 0\); the last checkpoint is of epoch 2 step 0. Try a"
    log = make(4, Listener())
    log.saved = "the last checkpoint is of epoch 2 step 0"
    log.begin(2)
    for loss in (1.0, bad, bad):
        log.add(torch.tensor(loss), 1)
    with pytest.raises(FloatingPointError, match=message):
        log.end()
    clock[0] += 1
    with pytest.raises(FloatingPointError, match=message):  # at the next look, not at the end of the epoch
        log.add(torch.tensor(1.0), 1)


def test_of_what_is_saved_only_what_is_known_is_said() -> None:
    assert str(make(4, Listener()).not_finite("loss", 1)) == (
        "loss is not finite at epoch 0 step 1 (from 0). Try a smaller step"
    )
