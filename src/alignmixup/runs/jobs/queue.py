"""Many runs: one after another in this process, or side by side, where one that dies takes no other with it."""

from __future__ import annotations

import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TextIO

from alignmixup.records import read_record
from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.runs.jobs.child import INTERRUPTED
from alignmixup.runs.training import draw_missing_curves, on_signals, train
from alignmixup.training.config import Config
from alignmixup.training.processes.ranks import is_main_process
from alignmixup.training.progress.display import Reporter
from alignmixup.training.trainer import InterruptedRunError


@dataclass(frozen=True)
class Job:
    """One run that is to be done."""

    label: str
    config: Config
    folder: RunFolder

    @property
    def name(self) -> str:
        """How progress and messages call the run."""
        return self.folder.path.name

    @property
    def log(self) -> Path:
        """What the run printed, if it failed; beside its folder, which holds nothing but the run."""
        return self.folder.path.with_name(f"{self.name}.log")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with a record, or with what went wrong, or neither when it was stopped."""

    job: Job
    record: dict[str, Any] | None = None
    failure: str = ""

    def __str__(self) -> str:
        if self.record is None:
            return f"failed: {self.failure}" if self.failure else "stopped and saved"
        metrics = self.record["metrics"]
        return f"error {metrics['last_error_percent']:.2f} %, {metrics['seconds']:.1f} s"


class Display:
    """Shows how far many runs are; this one shows nothing.

    Args:
        epochs: name of each run that is not finished yet -> its epochs.
        total: number of runs, finished ones included.
    """

    def __init__(self, epochs: Mapping[str, int], *, total: int) -> None:
        pass

    def reporter(self, name: str) -> Reporter:
        """The reporter of one run."""
        return Reporter()

    def ended(self, name: str, text: str) -> None:
        """A run is over; ``text`` says how."""

    def close(self) -> None:
        """All runs are over."""


class Process(Protocol):
    """A run at work in a process of its own."""

    def wait(self, reporter: Reporter) -> int:
        """Pass on its progress, write down what else it prints, return its exit status."""

    def interrupt(self) -> None:
        """Let it save and end; called again, end it at once."""


def run_here(jobs: Sequence[Job], display: Display, *, mode: Mode) -> list[Outcome]:
    """One after another in this process, which saves the time that a new one takes to start."""
    outcomes: list[Outcome] = []
    for job in jobs:
        reporter = display.reporter(job.name) if is_main_process() else Reporter()
        try:
            outcome = Outcome(job, train(job.config, job.folder, mode=mode, reporter=reporter))
            if is_main_process():
                job.log.unlink(missing_ok=True)
        except InterruptedRunError:
            return outcomes
        except Exception as error:
            if "WORLD_SIZE" in os.environ:  # the other processes may wait for this one
                raise
            with _open_log(job) as log:
                traceback.print_exc(file=log)
            outcome = Outcome(job, failure=f"{type(error).__name__}: {error}")
        outcomes.append(outcome)
        if is_main_process():
            display.ended(job.name, str(outcome))
    return outcomes


Start = Callable[[Job, Mapping[str, str], TextIO], Process]


class SideBySide:
    """Keeps each place busy with a run until all are done.

    The queue is a ``ThreadPoolExecutor``, a thread a place, and what a thread waits for is a process that shares
    nothing with the others: pools of processes (``ProcessPoolExecutor``, loky, joblib) give up all their runs when one
    process is killed.

    Args:
        start: starts a job with the environment variables of its place and the file for what it prints.
        display: shows the progress.
        finish: reads the record of a run whose process ended well; None draws its curves too.
    """

    def __init__(
        self,
        start: Start,
        display: Display,
        *,
        finish: Callable[[Job], dict[str, Any]] | None = None,
    ) -> None:
        self._start, self._display, self._finish = start, display, finish or _read_and_draw
        self._running: set[Process] = set()
        self._futures: list[Future[Outcome]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, jobs: Sequence[Job], places: Sequence[Mapping[str, str]]) -> list[Outcome]:
        """Do all jobs; those that `stop` kept from beginning are not among the outcomes."""
        free: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        for place in places:
            free.put(place)
        # not in the handler's own thread, which may hold a lock
        with ThreadPoolExecutor(len(places)) as pool, on_signals(lambda _: threading.Thread(target=self.stop).start()):
            self._futures = [pool.submit(self._work, job, free) for job in jobs]
            wait(self._futures)
        return [future.result() for future in self._futures if not future.cancelled()]

    def stop(self) -> None:
        """Begin no more runs and let those that run save and end; called again, end them at once."""
        with self._lock:
            self._stopped = True
            for future in self._futures:
                future.cancel()
            for process in self._running:
                process.interrupt()

    def _work(self, job: Job, free: SimpleQueue[Mapping[str, str]]) -> Outcome:
        place = free.get()
        try:
            outcome = self._do(job, place)
        except (OSError, ValueError) as error:
            outcome = Outcome(job, failure=str(error))
        finally:
            free.put(place)
        with self._lock:
            self._display.ended(job.name, str(outcome))
        return outcome

    def _do(self, job: Job, place: Mapping[str, str]) -> Outcome:
        with _open_log(job) as log:
            reporter = self._display.reporter(job.name)
            with self._lock:
                if self._stopped:
                    return Outcome(job)
                process = self._start(job, place, log)
                self._running.add(process)
            try:
                status = process.wait(reporter)
            finally:
                with self._lock:
                    self._running.remove(process)
                reporter.close()
            if status == INTERRUPTED or (status and self._stopped):
                return Outcome(job)
            if status:
                log.seek(0)
                return Outcome(job, failure=_what_went_wrong(status, log.read()))
        with self._lock:  # matplotlib's settings belong to the process
            record = self._finish(job)
        job.log.unlink(missing_ok=True)
        return Outcome(job, record)


def _read_and_draw(job: Job) -> dict[str, Any]:
    record = read_record(job.folder.record)
    draw_missing_curves(record, job.folder)
    return record


def _open_log(job: Job) -> TextIO:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    return open(job.log, "w+", encoding="utf-8")


def _what_went_wrong(status: int, log: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    lines = [line for line in log.splitlines() if line.strip()]
    # a traceback ends in package.module.Error: message
    return re.sub(r"^(?:\w+\.)+(?=\w+: )", "", lines[-1]) if lines else f"exit status {status}"
