"""Experiment trackers that receive one set of numbers per epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from alignmixup.training.config import Config, to_dict


class Tracker(Protocol):
    """Takes the numbers of an epoch."""

    def log(self, row: dict[str, Any]) -> None:
        """Record the numeric entries of a row of the curve under its epoch."""

    def close(self) -> None:
        """Flush and finish."""


class TensorBoardTracker:
    """Writes TensorBoard event files into the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise ImportError('train.trackers has "tensorboard": install it with `pip install tensorboard`') from None
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, row: dict[str, Any]) -> None:
        """One scalar per entry."""
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, row["epoch"])

    def close(self) -> None:
        """Flush the event file."""
        self._writer.close()


class WandbTracker:
    """Sends the run to Weights & Biases, project ``alignmixup``, named after the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        try:
            import wandb  # type: ignore[import-not-found]
        except ImportError:
            raise ImportError('train.trackers has "wandb": install it with `pip install wandb`') from None
        self._run = wandb.init(project="alignmixup", name=folder.name, dir=str(folder), config=to_dict(config))

    def log(self, row: dict[str, Any]) -> None:
        """One set of numbers per epoch."""
        self._run.log(row, step=row["epoch"])

    def close(self) -> None:
        """Mark the run as finished."""
        self._run.finish()


_KINDS: dict[str, Callable[[Config, Path], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
}


def open_trackers(config: Config, folder: Path) -> Sequence[Tracker]:
    """The trackers that the configuration names."""
    return [_KINDS[name](config, folder) for name in config.train.trackers]
