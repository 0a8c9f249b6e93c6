"""What ``alignmixup compare`` shows while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from alignmixup.runs.jobs.queue import Display
from alignmixup.terminal import is_live, new_bars, printable, say
from alignmixup.training.progress.display import BarReporter, LineReporter, Reporter, TimeLeft


class LineDisplay(Display):
    """Plain lines: what each run reports, and a line when it ends."""

    def __init__(self, epochs: Mapping[str, int], *, total: int) -> None:
        self.total, self.finished = total, total - len(epochs)
        self._epochs, self._done = dict(epochs), dict.fromkeys(epochs, 0.0)
        self._clock = TimeLeft()
        self._clock.start(self._thousandths())
        self._lock = threading.Lock()

    def reporter(self, name: str) -> Reporter:
        return _Counter(name, self, LineReporter())

    def ended(self, name: str, text: str) -> None:
        say(f"{self.count(name)} {name}: {text}; {self.left} left for all", flush=True)

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
        self.bars = new_bars()
        self._all = self.bars.add_task("all runs", total=sum(epochs.values()) or 1, text="")
        self.bars.start()

    def reporter(self, name: str) -> Reporter:
        return _Counter(name, self, BarReporter(self.bars))

    def move(self, name: str, epochs: float) -> None:
        super().move(name, epochs)
        self._update()

    def ended(self, name: str, text: str) -> None:
        self.bars.console.print(printable(f"{self.count(name)} {name}: {text}"), highlight=False)
        self._update()

    def close(self) -> None:
        self.bars.stop()

    def _update(self) -> None:
        text = f"{self.finished}/{self.total} runs  {self.left} left"
        self.bars.update(self._all, completed=self.done, text=text)


def default_display(epochs: Mapping[str, int], *, total: int) -> Display:
    """Bars on a terminal, lines elsewhere and where the terminal is dumb."""
    return (BarDisplay if is_live() else LineDisplay)(epochs, total=total)


class _Counter(Reporter):
    """Reporter of one run: gives it the run's name, counts its epochs, passes everything on."""

    def __init__(self, name: str, display: LineDisplay, target: Reporter) -> None:
        self._name, self._display, self._target = name, display, target
        self._first, self._batches = 0, 1

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        self._first, self._batches = first_epoch, batches
        if first_epoch:
            self._display.begin(self._name, first_epoch=first_epoch)
        self._target.start(self._name, epochs=epochs, batches=batches, first_epoch=first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        self._display.move(self._name, epoch - self._first + step / self._batches)
        self._target.step(epoch=epoch, step=step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: dict[str, Any]) -> None:
        self._display.move(self._name, row["epoch"] + 1 - self._first)
        self._target.epoch(row)

    def close(self) -> None:
        self._target.close()
