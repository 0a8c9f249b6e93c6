"""Learning rates by hand, and against torch's own schedulers."""

import math

import pytest
import torch

from alignmixup.training.config import ScheduleConfig
from alignmixup.training.config_file import load
from alignmixup.training.optimization.schedule import learning_rate, unreached_milestones


def rates(schedule: ScheduleConfig, *, epochs: int, updates_per_epoch: int = 1, base: float = 0.1) -> list[float]:
    return [
        learning_rate(schedule, base, update=u, updates_per_epoch=updates_per_epoch, epochs=epochs)
        for u in range(epochs * updates_per_epoch)
    ]


def test_step_drops_at_each_milestone() -> None:
    schedule = ScheduleConfig(name="step", milestones=(2, 4), factor=0.1)
    assert rates(schedule, epochs=5) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_step_is_constant_within_an_epoch() -> None:
    schedule = ScheduleConfig(name="step", milestones=(1,), factor=0.5, update="step")
    assert rates(schedule, epochs=2, updates_per_epoch=2, base=1.0) == [1.0, 1.0, 0.5, 0.5]


def test_constant_stays() -> None:
    assert rates(ScheduleConfig(name="constant"), epochs=3) == [0.1, 0.1, 0.1]


def test_cosine_by_hand() -> None:
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert rates(ScheduleConfig(name="cosine"), epochs=4, base=1.0) == pytest.approx(expected)


def test_cosine_final_factor_is_the_floor() -> None:
    got = rates(ScheduleConfig(name="cosine", final_factor=0.2, update="step"), epochs=1, updates_per_epoch=2, base=1.0)
    assert got == pytest.approx([1.0, 0.6])


def test_warmup_ends_at_the_full_rate_and_is_per_update() -> None:
    schedule = ScheduleConfig(name="constant", warmup_epochs=1.5)
    got = rates(schedule, epochs=3, updates_per_epoch=2, base=3.0)
    assert got == pytest.approx([1.0, 2.0, 3.0, 3.0, 3.0, 3.0])


def test_cosine_after_warmup_starts_at_the_full_rate_and_falls_to_the_end() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=1, update="step")
    got = rates(schedule, epochs=3, updates_per_epoch=2, base=1.0)
    assert got == pytest.approx([0.5, 1.0, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def test_warmup_over_the_whole_run_divides_nothing_by_zero() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=2)
    assert rates(schedule, epochs=2, base=1.0) == [0.5, 1.0]


@pytest.mark.parametrize("name", ["step", "cosine"])
def test_agrees_with_torch_per_epoch(name: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    if name == "step":
        reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    else:
        reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(ScheduleConfig(name=name, milestones=(3, 5)), epochs=8) == pytest.approx(expected)


def test_milestones_behind_the_last_epoch_are_named() -> None:
    config = load("cifar100/cutmix")
    assert config.schedule.milestones == (150, 225)
    assert unreached_milestones(config) == []
    assert unreached_milestones(load("cifar100/cutmix", ["train.epochs=225"])) == [225]
    assert unreached_milestones(load("cifar100/cutmix", ["train.epochs=60", "schedule.name=cosine"])) == []
