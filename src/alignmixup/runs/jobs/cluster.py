"""Runs on the nodes of a Slurm cluster, by submitit."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from alignmixup.outside import require
from alignmixup.runs.folder import Mode
from alignmixup.runs.jobs.child import ChildRun, replay
from alignmixup.runs.jobs.queue import Job, Process
from alignmixup.training.config_file import ConfigError, dump
from alignmixup.training.progress.display import Reporter

_DAY = 24 * 60
_SECONDS = 0.5  # between looks at a run


class Cluster:
    """Starts runs as jobs of a cluster, for `SideBySide`. A job that is preempted or out of time is continued.

    Args:
        engine: "slurm", or "local" for submitit's own processes on this machine, to try it out.
        parameters: of submitit's ``AutoExecutor``, as ``key=value``: ``timeout_min``, ``gpus_per_node``,
            ``slurm_partition``... Without ``timeout_min``, a day.
        folder: for submitit's files, on a file system that the nodes share; those of a finished run are deleted.
        mode: what to do with a run that is there already.
    """

    def __init__(self, engine: str, parameters: Sequence[str], *, folder: Path, mode: Mode) -> None:
        if engine not in ("slurm", "local"):
            raise ConfigError(f"--on {engine}: known are slurm and local")
        self._mode = mode
        submitit = require("submitit", extra="cluster")
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=engine)
            self._executor.update_parameters(**({"timeout_min": _DAY} | dict(map(_parameter, parameters))))
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(f"--on {engine}: {error}") from error

    def __call__(self, job: Job, place: Mapping[str, str], log: TextIO) -> Process:
        """Submit a run; see `queue.Start`. The cluster chooses its place."""
        try:
            told = (dump(job.config), str(job.folder.path.resolve()), self._mode, job.folder.figures)
            submitted = self._executor.submit(ChildRun(), *told)
        except Exception as error:  # submitit's own types: the queue refused this run, and others may still pass
            raise OSError(f"the job could not be submitted: {error}") from error
        return ClusterProcess(submitted, log)


class ClusterProcess(Process):
    """A run that was submitted."""

    def __init__(self, job: Any, log: TextIO) -> None:
        self.log = log
        self._job, self._read = job, 0

    def wait(self, reporter: Reporter) -> int:
        while not self._job.done():
            self._pass_on(reporter)
            time.sleep(_SECONDS)
        self._pass_on(reporter)
        try:
            status = int(self._job.result())
            reason = ""
        except Exception as error:  # submitit's own types: it died, was cancelled, or its result is unreadable
            status, reason = 1, " ".join(str(error).splitlines()[:2])  # the second says how the cluster saw it end
        if status:
            self.log.write(f"{self._job.stderr() or ''}\n{reason}\n")
        else:
            for file in self._job.paths.folder.glob(f"{self._job.job_id}_*"):
                os.remove(file)
        return status

    def interrupt(self) -> None:
        self._job.cancel(check=False)

    def _pass_on(self, reporter: Reporter) -> None:
        """What stands in the standard output since the last time, in whole lines."""
        if not self._job.paths.stdout.is_file():
            return
        with open(self._job.paths.stdout, "rb") as stdout:
            stdout.seek(self._read)
            lines = stdout.read().rpartition(b"\n")
        self._read += len(lines[0]) + len(lines[1])
        for line in lines[0].decode(errors="replace").splitlines():
            if not replay(line, reporter):
                self.log.write(f"{line}\n")


def _parameter(text: str) -> tuple[str, int | str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--on: {text!r} is not of the form KEY=VALUE, such as gpus_per_node=1")
    return key, int(value) if value.isdecimal() else value
