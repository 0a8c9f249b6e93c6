"""What a run shows while it runs: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import time
from typing import Any

from alignmixup.terminal import bar_width, is_live, new_bars, say


class Reporter:
    """Receives the progress of a run, a few times a second at most; this one shows nothing."""

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """A run begins or continues at ``first_epoch`` (from 0)."""

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """``step`` batches of ``epoch`` are done."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done; ``row`` is its entry of the curve."""

    def close(self) -> None:
        """The run ended, well or not."""


class LineReporter(Reporter):
    """Plain lines: the first epoch, the last, and others at least ``seconds`` apart."""

    def __init__(self, *, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._left = TimeLeft()

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        self._title, self._epochs, self._printed = title, epochs, -float("inf")
        self._left.start(epochs - first_epoch)

    def epoch(self, row: dict[str, Any]) -> None:
        left = self._left.after(self._epochs - row["epoch"] - 1)
        last = row["epoch"] + 1 == self._epochs
        if last or time.monotonic() - self._printed >= self._seconds:
            self._printed = time.monotonic()
            error = f"error {row['error_percent']:.2f} %  " if "error_percent" in row else ""
            say(
                f"{self._title}  epoch {row['epoch'] + 1}/{self._epochs}  loss {row['train_loss']:.4f}  "
                f"{error}{row['images_per_second']:.0f} images/s  {left} left",
                flush=True,
            )


class BarReporter(Reporter):
    """A live bar with loss, error, images per second and time left.

    Args:
        bars: takes the bars of several runs, whose time left it shows itself; None for one of its own.
    """

    def __init__(self, bars: Any = None) -> None:
        self._shared, self._bars, self._error, self._task = bars is not None, bars or new_bars(), "", None
        self._left = TimeLeft()

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        self._epochs, self._batches = epochs, batches
        self._left.start((epochs - first_epoch) * batches)
        done = first_epoch * batches
        self._task = self._bars.add_task(title, total=epochs * batches, completed=done, text="starting")
        if not self._shared:
            self._bars.start()

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        done = epoch * self._batches + step
        left = "" if self._shared else f"{self._left.after(self._epochs * self._batches - done)} left"
        parts = (left, self._error, f"loss {loss:.4f}", f"{images_per_second:.0f} images/s")
        text = fitting(
            f"epoch {epoch + 1}/{self._epochs}", *parts, beside=max(len(task.description) for task in self._bars.tasks)
        )
        self._bars.update(self._task, completed=done, text=text)

    def epoch(self, row: dict[str, Any]) -> None:
        if "error_percent" in row:
            self._error = f"error {row['error_percent']:.2f} %"
        loss, rate = row["train_loss"], row["images_per_second"]
        self.step(epoch=row["epoch"], step=self._batches, loss=loss, images_per_second=rate)

    def close(self) -> None:
        """Take the bar off the screen; a second time does nothing."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        if not self._shared:
            self._bars.stop()


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


def fitting(*parts: str, beside: int) -> str:
    """As many of the parts, the first ones first, as fit the terminal beside the bar and a title of so many characters.

    Empty parts are left out.
    """
    room = shutil.get_terminal_size().columns - beside - bar_width() - 2
    text = ""
    for part in filter(None, parts):
        longer = f"{text}  {part}" if text else part
        if len(longer) > room:
            break
        text = longer
    return text


def default_reporter(*, is_main: bool = True) -> Reporter:
    """A bar on a terminal, lines elsewhere, nothing on processes other than the first."""
    if not is_main:
        return Reporter()
    return BarReporter() if is_live() else LineReporter()
