"""Runs in processes of this machine, which share its cores and devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TextIO

from alignmixup.runs.folder import Mode
from alignmixup.runs.jobs.child import replay
from alignmixup.runs.jobs.queue import Job, Process
from alignmixup.training.config_file import dump
from alignmixup.training.progress.display import Reporter


class LocalProcess(Process):
    """A run in a process on this machine.

    It leads a process group of its own, so that Ctrl-C reaches it through `interrupt` alone and once.
    """

    def __init__(self, command: Sequence[str], config: str, environment: Mapping[str, str], log: TextIO) -> None:
        self._log = log
        # a file and no pipe: a process that died before it read would break the pipe, and that would hide its reason
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            file.write(config)
            file.seek(0)
            self._process = subprocess.Popen(
                command,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def wait(self, reporter: Reporter) -> int:
        with self._process as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not replay(line, reporter):
                    self._log.write(line)
        return process.returncode

    def interrupt(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def start_local(job: Job, place: Mapping[str, str], log: TextIO, *, mode: Mode) -> Process:
    """Start a run on this machine, for `SideBySide`."""
    command = [sys.executable, "-m", "alignmixup.runs.jobs.child", str(job.folder.path), mode, job.folder.figures]
    return LocalProcess(command, dump(job.config), place, log)


def slots(count: int, *, cores: int, devices: Sequence[str]) -> list[dict[str, str]]:
    """Environment variables of each of ``count`` places that runs take.

    Cores are divided; CUDA devices are dealt out in turn, so that with as many places as devices each has its own.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))
    places = [{"OMP_NUM_THREADS": threads} for _ in range(count)]
    for number, place in enumerate(places):
        if devices:
            place["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return places
