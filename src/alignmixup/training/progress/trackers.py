"""Experiment trackers that receive one set of numbers per epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from alignmixup.outside import require
from alignmixup.training.config import Config, to_dict


class Tracker(Protocol):
    """Takes the numbers of an epoch."""

    def log(self, row: dict[str, Any]) -> None:
        """Record the numeric entries of a row of the curve under its epoch."""

    def close(self) -> None:
        """Flush and finish."""


class TensorBoardTracker(Tracker):
    """Writes TensorBoard event files into the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        require("tensorboard", extra="trackers")
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, row: dict[str, Any]) -> None:
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, row["epoch"])

    def close(self) -> None:
        self._writer.close()


class WandbTracker(Tracker):
    """Sends the run to Weights & Biases, project ``alignmixup``, named after the run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._run = require("wandb", extra="trackers").init(
            project="alignmixup", name=folder.name, dir=str(folder), config=to_dict(config)
        )

    def log(self, row: dict[str, Any]) -> None:
        self._run.log(row, step=row["epoch"])

    def close(self) -> None:
        self._run.finish()


_KINDS: dict[str, Callable[[Config, Path], Tracker]] = {"tensorboard": TensorBoardTracker, "wandb": WandbTracker}


def open_trackers(config: Config, folder: Path) -> list[Tracker]:
    """The trackers that the configuration names; an ImportError says which package is not installed."""
    opened = []
    for name in config.train.trackers:
        try:
            opened.append(_KINDS[name](config, folder))
        except ImportError:
            raise ImportError(f'train.trackers has "{name}": install it with `pip install {name}`') from None
    return opened
