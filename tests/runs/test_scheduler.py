"""Runs side by side, with small scripts in place of trainings."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.runs.folder import RunFolder
from alignmixup.runs.scheduler import Job, Outcome, Scheduler, slots
from alignmixup.training.config_file import load
from alignmixup.training.progress import SilentReporter

FINE = """
import json, os, sys, tomllib
config = tomllib.loads(sys.stdin.read())
print(json.dumps({"progress": "epoch", "row": {"epoch": 0}}), flush=True)
print("a remark", flush=True)
json.dump({"seed": config["train"]["seed"], "place": os.environ["PLACE"]}, open(sys.argv[1], "w"))
"""
BROKEN = "import sys; print('before', file=sys.stderr); raise ValueError('no such thing')"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
PATIENT = """
import sys, time, json
sys.stdin.read()
print(json.dumps({"progress": "close"}), flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str, int], Job]:
    def make(label: str, seed: int) -> Job:
        config = load("digits/mixup", [f"train.seed={seed}"])
        return Job(label, config, RunFolder(tmp_path / f"{label}-seed{seed}"))

    return make


class Reporter(SilentReporter):
    def __init__(self, rows: list[dict[str, Any]], closed: threading.Event) -> None:
        self.rows, self.closed = rows, closed

    def epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def close(self) -> None:
        self.closed.set()


def schedule(jobs: list[Job], script: Callable[[Job], str], *, places: int = 2) -> tuple[Scheduler, Any]:
    seen: dict[str, Any] = {"ended": [], "rows": [], "closed": threading.Event()}
    scheduler = Scheduler(
        jobs,
        places=[{"PLACE": str(number)} for number in range(places)],
        command=lambda job: [sys.executable, "-c", script(job), str(job.folder.path) + ".json"],
        finish=lambda job: json.loads(Path(str(job.folder.path) + ".json").read_text()),
        reporter=lambda job: Reporter(seen["rows"], seen["closed"]),
        ended=seen["ended"].append,
    )
    return scheduler, seen


def test_each_run_gets_its_configuration_and_its_place(job: Callable[[str, int], Job], tmp_path: Path) -> None:
    jobs = [job("mixup", seed) for seed in range(5)]
    scheduler, seen = schedule(jobs, lambda job: FINE)
    outcomes = scheduler.run()
    assert sorted(o.record["seed"] for o in outcomes if o.record) == list(range(5))
    assert {o.record["place"] for o in outcomes if o.record} <= {"0", "1"}
    assert seen["ended"] == outcomes
    assert seen["rows"] == [{"epoch": 0}] * 5
    assert not list(tmp_path.glob("*.log"))


def test_a_run_that_dies_takes_no_other_with_it(job: Callable[[str, int], Job]) -> None:
    scripts = {"broken": BROKEN, "killed": KILLED, "fine": FINE, "unread": "import sys; sys.stdin.read()"}
    jobs = [job(label, 0) for label in scripts]
    scheduler, _ = schedule(jobs, lambda job: scripts[job.label])
    outcomes = {outcome.job.label: outcome for outcome in scheduler.run()}
    assert outcomes["broken"].failure == "ValueError: no such thing"
    assert outcomes["killed"].failure == "ended by SIGKILL (out of memory?)"
    assert "No such file" in outcomes["unread"].failure  # it ended well and left no record
    assert outcomes["fine"].record == {"seed": 0, "place": outcomes["fine"].record["place"]}
    log = jobs[0].log.read_text()
    assert log.startswith("before\n")
    assert "Traceback" in log


def test_a_stop_lets_running_ones_end_and_begins_no_more(job: Callable[[str, int], Job]) -> None:
    jobs = [job("mixup", seed) for seed in range(4)]
    scheduler, seen = schedule(jobs, lambda job: PATIENT)
    handler = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        seen["closed"].wait(20)
        time.sleep(0.3)  # until the second one sleeps too
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    outcomes = scheduler.run()
    assert time.monotonic() - begin < 40
    assert outcomes == [Outcome(job=outcome.job) for outcome in outcomes]
    assert len(outcomes) <= 2
    assert signal.getsignal(signal.SIGINT) is handler


def test_cores_are_divided_and_devices_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert slots(3, cores=8, devices=[]) == [{"OMP_NUM_THREADS": "2"}] * 3
    assert [place["CUDA_VISIBLE_DEVICES"] for place in slots(3, cores=2, devices=["4", "6"])] == ["4", "6", "4"]
    assert slots(3, cores=2, devices=["0"])[0]["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert slots(2, cores=8, devices=[]) == [{"OMP_NUM_THREADS": "5"}] * 2
