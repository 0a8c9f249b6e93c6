"""Many runs side by side, each in a process of its own: when one dies, the others go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from alignmixup.runs.folder import RunFolder
from alignmixup.runs.progress_stream import replay
from alignmixup.training.config import Config
from alignmixup.training.config_file import dump
from alignmixup.training.progress import Reporter

INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """One run that is to be done.

    Attributes:
        label: the row of the comparison it belongs to.
        config: with its seed.
        folder: where it goes.
    """

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
    """How a run ended: with a record, or with what went wrong, or neither when it was stopped.

    Attributes:
        job: the run.
        record: its record, when it finished.
        failure: what went wrong, in a line.
    """

    job: Job
    record: dict[str, Any] | None = None
    failure: str = ""


def slots(count: int, *, cores: int, devices: Sequence[str]) -> list[dict[str, str]]:
    """Environment variables of each of ``count`` places that runs take.

    Cores are divided; CUDA devices are dealt out in turn, so that with as many places as devices each has its own.

    Args:
        count: how many runs at a time.
        cores: of the machine.
        devices: CUDA devices as ``CUDA_VISIBLE_DEVICES`` names them; empty without.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))
    places = [{"OMP_NUM_THREADS": threads} for _ in range(count)]
    for number, place in enumerate(places):
        if devices:
            place["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return places


class Scheduler:
    """Keeps each place busy with a run until all are done.

    A run is a process that reads its configuration from the standard input and writes its progress to the standard
    output. It leads a process group of its own, so that Ctrl-C reaches it through `stop` alone and once.

    Args:
        jobs: in the order in which they begin.
        places: environment variables of each place, as `slots` makes them.
        command: makes the command line of a job.
        finish: reads the record of a run whose process ended well.
        reporter: gives the reporter of a job.
        ended: is told how each job ended, as it does.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        places: Sequence[Mapping[str, str]],
        command: Callable[[Job], Sequence[str]],
        finish: Callable[[Job], dict[str, Any]],
        reporter: Callable[[Job], Reporter],
        ended: Callable[[Outcome], None],
    ) -> None:
        self._waiting, self._places = list(jobs), places
        self._command, self._finish, self._reporter, self._ended = command, finish, reporter, ended
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._stops = 0

    def run(self) -> list[Outcome]:
        """Do all jobs; those that `stop` left undone are not among the outcomes."""
        threads = [threading.Thread(target=self._work, args=(place,)) for place in self._places]
        with self._stop_on_signals():
            for thread in threads:
                thread.start()
            for thread in threads:
                # a plain join would keep the signal handlers from running
                while thread.is_alive():
                    thread.join(timeout=0.2)
        return self._outcomes

    def stop(self) -> None:
        """Begin no more runs and let those that run save and end; called again, end them at once."""
        with self._lock:
            self._stops += 1
            self._waiting.clear()
            for process in self._running.values():
                _signal(process, signal.SIGINT)

    def _work(self, place: Mapping[str, str]) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                job = self._waiting.pop(0)
            outcome = self._run_job(job, place)
            with self._lock:
                self._outcomes.append(outcome)
                self._ended(outcome)

    def _run_job(self, job: Job, place: Mapping[str, str]) -> Outcome:
        try:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            with open(job.log, "w+", encoding="utf-8") as log:
                status = self._watch(job, place, log)
                if status == INTERRUPTED or (status and self._stops):
                    return Outcome(job)
                if status:
                    log.seek(0)
                    return Outcome(job, failure=_what_went_wrong(status, log.read()))
            record = self._finish(job)
        except (OSError, ValueError) as error:
            return Outcome(job, failure=str(error))
        job.log.unlink(missing_ok=True)
        return Outcome(job, record=record)

    def _watch(self, job: Job, place: Mapping[str, str], log: Any) -> int:
        """Start the process, pass on its progress, return its exit status."""
        reporter = self._reporter(job)
        with self._lock:
            if self._stops:
                return INTERRUPTED
            process = subprocess.Popen(
                self._command(job),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **place},
                start_new_session=True,
            )
            self._running[process.pid] = process
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(dump(job.config))
            process.stdin.close()
            for line in process.stdout:
                if not replay(line, reporter):
                    log.write(line)
        with self._lock:
            del self._running[process.pid]
        reporter.close()
        return process.returncode

    @contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            # not in the handler's own thread, which may hold the lock
            threading.Thread(target=self.stop).start()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _signal(process: subprocess.Popen[str], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _what_went_wrong(status: int, log: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    lines = [line for line in log.splitlines() if line.strip()]
    # a traceback ends in package.module.Error: message
    return re.sub(r"^(?:\w+\.)+(?=\w+: )", "", lines[-1]) if lines else f"exit status {status}"
