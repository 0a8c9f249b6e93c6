"""What ``alignmixup compare`` shows while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from typing import Any, Protocol

from alignmixup.training.progress import LineReporter, Reporter, SilentReporter, TimeLeft


class Board(Protocol):
    """Shows all runs of a comparison."""

    def reporter(self, name: str) -> Reporter:
        """The reporter of one run."""

    def ended(self, name: str, text: str) -> None:
        """A run is over; ``text`` says how."""

    def close(self) -> None:
        """All runs are over."""


class LineBoard:
    """Plain lines: what each run reports, and a line when it ends.

    Args:
        epochs: name of each run that is not finished yet -> its epochs.
        total: number of runs, finished ones included.
    """

    def __init__(self, epochs: dict[str, int], *, total: int) -> None:
        self._work = _Work(epochs, total=total)

    def reporter(self, name: str) -> Reporter:
        """Lines that begin with the name of the run."""
        return _Forwarder(name, self._work, LineReporter())

    def ended(self, name: str, text: str) -> None:
        """Print it."""
        print(f"{self._work.end(name)} {name}: {text}; {self._work.left} left for all", flush=True)

    def close(self) -> None:
        """Nothing to close."""


class BarBoard:
    """One bar for all runs, and one for each that is running.

    Args:
        epochs: name of each run that is not finished yet -> its epochs.
        total: number of runs, finished ones included.
    """

    def __init__(self, epochs: dict[str, int], *, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._work = _Work(epochs, total=total)
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"), transient=True
        )
        self._all = self.bars.add_task("all runs", total=sum(epochs.values()) or 1, text="")
        self.bars.start()

    def reporter(self, name: str) -> Reporter:
        """A bar that is there while the run is."""
        return _Forwarder(name, self._work, _Bar(self))

    def move(self) -> None:
        """Bring the bar of all runs up to date."""
        text = f"{self._work.finished}/{self._work.total} runs  {self._work.left} left"
        self.bars.update(self._all, completed=self._work.done, text=text)

    def ended(self, name: str, text: str) -> None:
        """Print it above the bars."""
        self.bars.console.print(f"{self._work.end(name)} {name}: {text}", markup=False, highlight=False)
        self.move()

    def close(self) -> None:
        """Take the bars off the screen."""
        self.bars.stop()


def open_board(epochs: dict[str, int], *, total: int) -> Board:
    """Bars on a terminal, lines elsewhere."""
    return BarBoard(epochs, total=total) if sys.stdout.isatty() else LineBoard(epochs, total=total)


class _Work:
    """How much of all runs is done, in epochs."""

    def __init__(self, epochs: dict[str, int], *, total: int) -> None:
        self.total, self.finished = total, total - len(epochs)
        self._epochs, self._done = dict(epochs), dict.fromkeys(epochs, 0.0)
        self._clock = TimeLeft()
        self._clock.start(self._thousandths())
        self._lock = threading.Lock()

    @property
    def done(self) -> float:
        """Epochs that are done, of all runs."""
        return sum(self._done.values())

    @property
    def left(self) -> str:
        """Time left for all runs."""
        return self._clock.after(self._thousandths())

    def begin(self, name: str, *, first_epoch: int) -> None:
        """What a continued run has done before costs no time now."""
        with self._lock:
            self._epochs[name] -= first_epoch
            self._clock.start(self._thousandths())

    def move(self, name: str, epochs: float) -> None:
        """A run stands at this many epochs since it began or was continued."""
        self._done[name] = min(epochs, self._epochs[name])

    def end(self, name: str) -> str:
        """A run is over, well or not; returns ``[3/15]``."""
        with self._lock:
            self._done[name] = self._epochs.get(name, 0)
            self.finished += 1
            return f"[{self.finished}/{self.total}]"

    def _thousandths(self) -> int:
        return round(1000 * (sum(self._epochs.values()) - self.done))


class _Forwarder:
    """Reporter of one run: gives it the run's name, counts its epochs, passes everything on."""

    def __init__(self, name: str, work: _Work, target: Reporter) -> None:
        self._name, self._work, self._target = name, work, target
        self._first, self._batches = 0, 1

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Begin."""
        self._first, self._batches = first_epoch, batches
        if first_epoch:
            self._work.begin(self._name, first_epoch=first_epoch)
        self._target.start(self._name, epochs=epochs, batches=batches, first_epoch=first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Count and pass on."""
        self._work.move(self._name, epoch - self._first + step / self._batches)
        self._target.step(epoch=epoch, step=step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: dict[str, Any]) -> None:
        """Count and pass on."""
        self._work.move(self._name, row["epoch"] + 1 - self._first)
        self._target.epoch(row)

    def close(self) -> None:
        """Pass on."""
        self._target.close()


class _Bar(SilentReporter):
    """The bar of one run on a `BarBoard`."""

    def __init__(self, board: BarBoard) -> None:
        self._board, self._error = board, ""
        self._task: Any = None

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Add the bar."""
        self._epochs, self._batches = epochs, batches
        done = first_epoch * batches
        self._task = self._board.bars.add_task(title, total=epochs * batches, completed=done, text="starting")

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar."""
        text = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.4f}{self._error}  {images_per_second:.0f} images/s"
        self._board.bars.update(self._task, completed=epoch * self._batches + step, text=text)
        self._board.move()

    def epoch(self, row: dict[str, Any]) -> None:
        """Take over the new test error."""
        if "error_percent" in row:
            self._error = f"  error {row['error_percent']:.2f} %"
        loss, rate = row["train_loss"], row["images_per_second"]
        self.step(epoch=row["epoch"], step=self._batches, loss=loss, images_per_second=rate)

    def close(self) -> None:
        """Remove the bar; a second time does nothing."""
        if self._task is not None:
            self._board.bars.remove_task(self._task)
            self._task = None
