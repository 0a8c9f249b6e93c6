"""The learning rate as a pure function of the position in the run: nothing to store, nothing to resume."""

from __future__ import annotations

import math

from alignmixup.training.config import Config, ScheduleConfig


def learning_rate(schedule: ScheduleConfig, base: float, *, update: int, updates_per_epoch: int, epochs: int) -> float:
    """Learning rate of one optimiser update.

    Convention:
        - Epochs and updates count from 0. Milestone 100: epoch 100 is the first with a smaller rate.
        - The warm-up of W updates is linear and ends at the full rate: update u < W has factor (u + 1) / W.
          It is always per update. The shape after it changes once an epoch (``update = "epoch"``) or at each
          update.
        - Cosine runs from the end of the warm-up to the end of the run. Per epoch, the last epoch stands one
          epoch before the end, as in ``torch.optim.lr_scheduler.CosineAnnealingLR``.

    Args:
        schedule: shape and its numbers.
        base: rate at factor 1.
        update: index of this optimiser update in the whole run.
        updates_per_epoch: optimiser updates in an epoch (batches / accumulation, rounded up).
        epochs: length of the run.
    """
    warmup_updates = round(schedule.warmup_epochs * updates_per_epoch)
    if update < warmup_updates:
        return base * (update + 1) / warmup_updates
    position = update / updates_per_epoch
    if schedule.update == "epoch":
        position = float(update // updates_per_epoch)
    if schedule.name == "step":
        return base * schedule.factor ** sum(position >= milestone for milestone in schedule.milestones)
    if schedule.name == "cosine":
        length = epochs - schedule.warmup_epochs
        passed = max(position - schedule.warmup_epochs, 0.0) / length if length else 1.0
        low = schedule.final_factor
        return base * (low + (1 - low) * (1 + math.cos(math.pi * passed)) / 2)
    return base


def unreached_milestones(config: Config) -> list[int]:
    """The milestones of a step schedule that lie behind the last epoch, at which nothing happens."""
    schedule = config.schedule
    return [one for one in schedule.milestones if schedule.name == "step" and one >= config.train.epochs]
