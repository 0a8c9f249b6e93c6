"""A run's progress as lines of JSON, from its own process to the one that shows it."""

from __future__ import annotations

import json
from typing import Any, TextIO

from alignmixup.training.progress import Reporter


class StreamReporter:
    """Writes each event as one line.

    Args:
        stream: what `replay` reads from at the other end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        """Write it."""
        self._write("start", title=title, epochs=epochs, batches=batches, first_epoch=first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Write it."""
        self._write("step", epoch=epoch, step=step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: dict[str, Any]) -> None:
        """Write it."""
        self._write("epoch", row=row)

    def close(self) -> None:
        """Write it."""
        self._write("close")

    def _write(self, event: str, **values: Any) -> None:
        self._stream.write(json.dumps({"progress": event, **values}) + "\n")
        self._stream.flush()


def replay(line: str, reporter: Reporter) -> bool:
    """Tell ``reporter`` what a line says; False for a line that a `StreamReporter` has not written."""
    try:
        values = json.loads(line)
        event = values.pop("progress")
    except (ValueError, TypeError, AttributeError, KeyError):
        return False
    if event == "start":
        reporter.start(values.pop("title"), **values)
    elif event == "step":
        reporter.step(**values)
    elif event == "epoch":
        reporter.epoch(values["row"])
    else:
        reporter.close()
    return True
