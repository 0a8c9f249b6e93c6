"""What ``alignmixup compare`` shows while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

from alignmixup.outside import require
from alignmixup.runs.jobs.queue import Display
from alignmixup.training.progress.display import LineReporter, Reporter, SilentReporter, TimeLeft


class LineDisplay(Display):
    """Plain lines: what each run reports, and a line when it ends.

    Args:
        epochs: name of each run that is not finished yet -> its epochs.
        total: number of runs, finished ones included.
    """

    def __init__(self, epochs: Mapping[str, int], *, total: int) -> None:
        self.total, self.finished = total, total - len(epochs)
        self._epochs, self._done = dict(epochs), dict.fromkeys(epochs, 0.0)
        self._clock = TimeLeft()
        self._clock.start(self._thousandths())
        self._lock = threading.Lock()

    def reporter(self, name: str) -> Reporter:
        """Lines that begin with the name of the run."""
        return _Counter(name, self, LineReporter())

    def ended(self, name: str, text: str) -> None:
        """Print it."""
        print(f"{self.count(name)} {name}: {text}; {self.left} left for all", flush=True)

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

    def count(self, name: str) -> str:
        """A run is over, well or not; returns ``[3/15]``."""
        with self._lock:
            self._done[name] = self._epochs.get(name, 0)
            self.finished += 1
            return f"[{self.finished}/{self.total}]"

    def _thousandths(self) -> int:
        return round(1000 * (sum(self._epochs.values()) - self.done))


class BarDisplay(LineDisplay):
    """One bar for all runs, and one for each that is running; arguments as of `LineDisplay`."""

    def __init__(self, epochs: Mapping[str, int], *, total: int) -> None:
        super().__init__(epochs, total=total)
        progress = require("rich.progress")
        columns = ("{task.description}", progress.BarColumn(bar_width=24), "{task.fields[text]}")
        self.bars = progress.Progress(*columns, transient=True)
        self._all = self.bars.add_task("all runs", total=sum(epochs.values()) or 1, text="")
        self.bars.start()

    def reporter(self, name: str) -> Reporter:
        """A bar that is there while the run is."""
        return _Counter(name, self, _Bar(self.bars))

    def move(self, name: str, epochs: float) -> None:
        """Move the bar of all runs too."""
        super().move(name, epochs)
        self._update()

    def ended(self, name: str, text: str) -> None:
        """Print it above the bars."""
        self.bars.console.print(f"{self.count(name)} {name}: {text}", markup=False, highlight=False)
        self._update()

    def close(self) -> None:
        """Take the bars off the screen."""
        self.bars.stop()

    def _update(self) -> None:
        text = f"{self.finished}/{self.total} runs  {self.left} left"
        self.bars.update(self._all, completed=self.done, text=text)


def default_display(epochs: Mapping[str, int], *, total: int) -> Display:
    """Bars on a terminal, lines elsewhere."""
    return (BarDisplay if sys.stdout.isatty() else LineDisplay)(epochs, total=total)


class _Counter:
    """Reporter of one run: gives it the run's name, counts its epochs, passes everything on."""

    def __init__(self, name: str, display: LineDisplay, target: Reporter) -> None:
        self._name, self._display, self._target = name, display, target
        self._first, self._batches = 0, 1

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Begin."""
        self._first, self._batches = first_epoch, batches
        if first_epoch:
            self._display.begin(self._name, first_epoch=first_epoch)
        self._target.start(self._name, epochs=epochs, batches=batches, first_epoch=first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Count and pass on."""
        self._display.move(self._name, epoch - self._first + step / self._batches)
        self._target.step(epoch=epoch, step=step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: dict[str, Any]) -> None:
        """Count and pass on."""
        self._display.move(self._name, row["epoch"] + 1 - self._first)
        self._target.epoch(row)

    def close(self) -> None:
        """Pass on."""
        self._target.close()


class _Bar(SilentReporter):
    """The bar of one run among others; like ``training.progress.BarReporter``, without its own time left."""

    def __init__(self, bars: Any) -> None:
        self._bars, self._error, self._task = bars, "", None

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Add the bar."""
        self._epochs, self._batches = epochs, batches
        done = first_epoch * batches
        self._task = self._bars.add_task(title, total=epochs * batches, completed=done, text="starting")

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar."""
        text = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.4f}{self._error}  {images_per_second:.0f} images/s"
        self._bars.update(self._task, completed=epoch * self._batches + step, text=text)

    def epoch(self, row: dict[str, Any]) -> None:
        """Take over the new test error."""
        if "error_percent" in row:
            self._error = f"  error {row['error_percent']:.2f} %"
        loss, rate = row["train_loss"], row["images_per_second"]
        self.step(epoch=row["epoch"], step=self._batches, loss=loss, images_per_second=rate)

    def close(self) -> None:
        """Remove the bar; a second time does nothing."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
