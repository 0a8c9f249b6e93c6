"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the progress of a run; called a few times a second at most."""

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """A run begins or continues at ``first_epoch`` (from 0)."""

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """``step`` batches of ``epoch`` are done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done; ``row`` is its entry of the curve."""

    def close(self) -> None:
        """The run ended, well or not."""


class SilentReporter:
    """Shows nothing: processes other than the first, tests, library use."""

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Ignored."""

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Ignored."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Ignored."""

    def close(self) -> None:
        """Ignored."""


class LineReporter:
    """Plain lines: the first epoch, the last, and others at least ``seconds`` apart."""

    def __init__(self, *, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._title, self._epochs, self._printed = "", 0, -float("inf")
        self._left = TimeLeft()

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Remember what is running."""
        self._title, self._epochs, self._printed = title, epochs, -float("inf")
        self._left.start(epochs - first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Nothing: steps are too many for lines."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Print the epoch when it is time."""
        left = self._left.after(self._epochs - row["epoch"] - 1)
        last = row["epoch"] + 1 == self._epochs
        if last or time.monotonic() - self._printed >= self._seconds:
            self._printed = time.monotonic()
            error = f"error {row['error_percent']:.2f} %  " if "error_percent" in row else ""
            print(
                f"{self._title}  epoch {row['epoch'] + 1}/{self._epochs}  loss {row['train_loss']:.4f}  "
                f"{error}{row['images_per_second']:.0f} images/s  {left} left",
                flush=True,
            )

    def close(self) -> None:
        """Nothing to close."""


class BarReporter:
    """A live bar with loss, error, images per second and time left."""

    def __init__(self) -> None:
        self._error = ""

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Open the bar."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._epochs, self._batches = epochs, batches
        self._left = TimeLeft()
        self._left.start((epochs - first_epoch) * batches)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=epochs * batches, completed=first_epoch * batches, text="starting")
        self._bar.start()

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar."""
        done = epoch * self._batches + step
        left = self._left.after(self._epochs * self._batches - done)
        text = (
            f"epoch {epoch + 1}/{self._epochs}  loss {loss:.4f}{self._error}  "
            f"{images_per_second:.0f} images/s  {left} left"
        )
        self._bar.update(self._task, completed=done, text=text)

    def epoch(self, row: dict[str, Any]) -> None:
        """Take over the new test error."""
        if "error_percent" in row:
            self._error = f"  error {row['error_percent']:.2f} %"
        self.step(
            epoch=row["epoch"],
            step=self._batches,
            loss=row["train_loss"],
            images_per_second=row["images_per_second"],
        )

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.stop()


class TimeLeft:
    """Estimates the time that remaining units of work take from those done since the start."""

    def start(self, remaining: int) -> None:
        """Begin with ``remaining`` units to do."""
        self._begin, self._at_begin = time.monotonic(), remaining

    def after(self, remaining: int) -> str:
        """Time left, as minutes and seconds, when ``remaining`` units are still to do."""
        done = self._at_begin - remaining
        if done <= 0:
            return "?"
        seconds = round((time.monotonic() - self._begin) / done * remaining)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def default_reporter(*, is_main: bool = True) -> Reporter:
    """A bar on a terminal, lines elsewhere, nothing on processes other than the first."""
    if not is_main:
        return SilentReporter()
    return BarReporter() if sys.stdout.isatty() else LineReporter()
