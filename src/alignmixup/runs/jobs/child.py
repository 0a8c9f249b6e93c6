"""One run of ``alignmixup compare``, in a process of its own: here or on a node of a cluster."""

from __future__ import annotations

import json
import sys
import tomllib
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.training.config_file import from_dict
from alignmixup.training.progress.display import Reporter

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from alignmixup.figures.save import FigureKind

INTERRUPTED = 130


class ChildRun:
    """Trains as it is told, writes its progress to the standard output, returns the exit status; draws nothing."""

    def __call__(self, config: str, folder: str, mode: Mode, figures: FigureKind = "png") -> int:
        """Train."""
        from alignmixup.runs.training import train_undrawn
        from alignmixup.training.trainer import InterruptedRunError

        reporter = StreamReporter(sys.stdout)
        with redirect_stdout(sys.stderr):  # what anything else prints belongs to the log
            try:
                chosen = from_dict(tomllib.loads(config), source="the configuration of this run")
                train_undrawn(chosen, RunFolder(Path(folder), figures), mode=mode, reporter=reporter)
            except (InterruptedRunError, KeyboardInterrupt):
                return INTERRUPTED
            except Exception:
                traceback.print_exc()
                return 1
        return 0

    def checkpoint(self, config: str, folder: str, mode: Mode, figures: FigureKind = "png") -> DelayedSubmission:
        """What submitit does when a cluster takes the node back or time is up: continue on another."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, config, folder, "resume", figures)


class StreamReporter(Reporter):
    """Writes each event of a run as one line, for `replay` at the other end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, title: str, *, epochs: int, batches: int, first_epoch: int) -> None:
        self._write("start", title=title, epochs=epochs, batches=batches, first_epoch=first_epoch)

    def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        self._write("step", epoch=epoch, step=step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: dict[str, Any]) -> None:
        self._write("epoch", row=row)

    def close(self) -> None:
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
    if event not in ("start", "step", "epoch", "close"):
        return False
    getattr(reporter, event)(**values)
    return True


if __name__ == "__main__":
    sys.exit(ChildRun()(sys.stdin.read(), *sys.argv[1:]))  # type: ignore[arg-type]
