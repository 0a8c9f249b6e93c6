"""Many runs: the queue, with small scripts in place of trainings; the process of one run; the cluster."""

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import pytest

from alignmixup.runs.folder import RunFolder
from alignmixup.runs.jobs.child import INTERRUPTED, ChildRun, StreamReporter, replay
from alignmixup.runs.jobs.cluster import Cluster, ClusterProcess
from alignmixup.runs.jobs.local import LocalProcess, slots
from alignmixup.runs.jobs.queue import Display, Job, Outcome, SideBySide
from alignmixup.training.config_file import ConfigError, dump, load
from alignmixup.training.progress.display import Reporter
from alignmixup.training.trainer import Trainer

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

MakeJob = Callable[[str, int], Job]


@pytest.fixture
def job(tmp_path: Path) -> MakeJob:
    def make(label: str, seed: int) -> Job:
        config = load("digits/mixup", [f"train.seed={seed}"])
        return Job(label, config, RunFolder(tmp_path / f"{label}-seed{seed}"))

    return make


class Recorder(Display):
    """Remembers everything."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.closed = threading.Event()

    def reporter(self, name: str) -> Reporter:
        recorder = self

        class Forward(Reporter):
            def epoch(self, row: dict[str, Any]) -> None:
                recorder.rows.append(row)

            def close(self) -> None:
                recorder.closed.set()

        return Forward()

    def ended(self, name: str, text: str) -> None:
        self.texts[name] = text


def side_by_side(script: Callable[[Job], str], display: Display) -> SideBySide:
    def start(job: Job, place: Mapping[str, str], log: TextIO) -> LocalProcess:
        command = [sys.executable, "-c", script(job), f"{job.folder.path}.json"]
        return LocalProcess(command, dump(job.config), place, log)

    return SideBySide(
        start, display, finish=lambda job: json.loads(Path(f"{job.folder.path}.json").read_text(encoding="utf-8"))
    )


PLACES = [{"PLACE": "0"}, {"PLACE": "1"}]


def test_each_run_gets_its_configuration_and_its_place(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outcome, "__str__", lambda outcome: str(outcome.record["seed"]) if outcome.record else "none")
    jobs, display = [job("mixup", seed) for seed in range(5)], Recorder()
    outcomes = side_by_side(lambda job: FINE, display).run(jobs, PLACES)
    assert [outcome.record["seed"] for outcome in outcomes if outcome.record] == list(range(5))  # in their order
    assert {outcome.record["place"] for outcome in outcomes if outcome.record} <= {"0", "1"}
    assert display.texts == {f"mixup-seed{seed}": str(seed) for seed in range(5)}
    assert display.rows == [{"epoch": 0}] * 5
    assert not list(tmp_path.glob("*.log"))


def test_a_run_that_dies_takes_no_other_with_it_and_says_why(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outcome, "__str__", lambda outcome: outcome.failure)
    scripts = {"broken": BROKEN, "killed": KILLED, "fine": FINE, "unread": "import sys; sys.stdin.read()"}
    jobs, display = [job(label, 0) for label in scripts], Recorder()
    outcomes = side_by_side(lambda job: scripts[job.label], display).run(jobs, PLACES)
    failures = {outcome.job.label: outcome.failure for outcome in outcomes}
    assert failures["broken"] == "ValueError: no such thing"
    assert failures["killed"] == "ended by SIGKILL (out of memory?)"
    assert "No such file" in failures["unread"]  # it ended well and left no record
    assert outcomes[2].record
    assert outcomes[2].record["seed"] == 0
    log = jobs[0].log.read_text(encoding="utf-8")
    assert log.startswith("before\n")
    assert "Traceback" in log


def test_a_process_that_reads_nothing_is_told_everything(job: MakeJob, tmp_path: Path) -> None:
    """A configuration larger than any pipe's buffer, and a process that is gone before it could be written."""
    with open(tmp_path / "log", "w+", encoding="utf-8") as log:
        process = LocalProcess([sys.executable, "-c", BROKEN], "#" * 1_000_000, {}, log)
        time.sleep(0.1)
        assert process.wait(Reporter()) == 1
        log.seek(0)
        assert log.read().endswith("ValueError: no such thing\n")


def test_a_stop_lets_running_ones_end_and_begins_no_more(job: MakeJob) -> None:
    jobs, display = [job("mixup", seed) for seed in range(4)], Recorder()
    queue = side_by_side(lambda job: PATIENT, display)
    handler = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        display.closed.wait(20)
        time.sleep(0.3)  # until the second one sleeps too
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    outcomes = queue.run(jobs, PLACES)
    assert time.monotonic() - begin < 40
    assert outcomes == [Outcome(job=outcome.job) for outcome in outcomes]
    assert len(outcomes) <= 2
    assert set(display.texts.values()) == {"stopped and saved"}
    assert signal.getsignal(signal.SIGINT) is handler


def test_cores_are_divided_and_devices_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert slots(3, cores=8, devices=[]) == [{"OMP_NUM_THREADS": "2"}] * 3
    assert [place["CUDA_VISIBLE_DEVICES"] for place in slots(3, cores=2, devices=["4", "6"])] == ["4", "6", "4"]
    assert slots(3, cores=2, devices=["0"])[0]["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert slots(2, cores=8, devices=[]) == [{"OMP_NUM_THREADS": "5"}] * 2


def test_a_child_trains_as_it_is_told_and_says_how_far_it_is(
    small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = dump(load("digits/mixup", small[1:]))
    assert ChildRun()(text, "run", "resume") == 0
    events = [json.loads(line)["progress"] for line in capsys.readouterr().out.splitlines()]
    assert (events[0], events[-1], events.count("epoch")) == ("start", "close", 2)
    assert Path("run/config.toml").read_text(encoding="utf-8") == text
    assert json.loads(Path("run/record.json").read_text(encoding="utf-8"))["finished"]
    assert not Path("run/curves.png").exists()  # it would load matplotlib, which the comparison has loaded


def test_a_child_says_that_it_was_interrupted(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer._train_step

    def stopping(self: Trainer, *batch: object) -> bool:
        self.stop_requested = True
        return step(self, *batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_step", stopping)
    assert ChildRun()(dump(load("digits/mixup", small[1:])), "run", "resume") == INTERRUPTED
    assert Path("run/checkpoint.pt").is_file()


class Listener:
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def start(self, title: str, **values: int) -> None:
        self.events.append(("start", title, values))

    def step(self, **values: float) -> None:
        self.events.append(("step", values))

    def epoch(self, row: dict[str, Any]) -> None:
        self.events.append(("epoch", row))

    def close(self) -> None:
        self.events.append(("close",))


def tell(reporter: Any) -> None:
    reporter.start("mixup\nseed", epochs=3, batches=10, first_epoch=1)
    reporter.step(epoch=1, step=4, loss=0.25, images_per_second=1e3)
    reporter.epoch({"epoch": 1, "train_loss": 0.5, "error_percent": 12.5})
    reporter.close()


def test_progress_that_is_written_is_told_again() -> None:
    direct, replayed, stream = Listener(), Listener(), io.StringIO()
    tell(direct)
    tell(StreamReporter(stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert all(replay(line, replayed) for line in lines)
    assert replayed.events == direct.events


@pytest.mark.parametrize(
    "line", ["", "downloading 5 %", "3", "null", '{"loss": 1}', '["progress"]', "{", '{"progress": "__init__"}']
)
def test_other_lines_are_not_progress(line: str) -> None:
    listener = Listener()
    assert not replay(line, listener)
    assert not listener.events


def test_a_cluster_trains_shows_and_leaves_the_reason(small: list[str], tmp_path: Path) -> None:
    """By submitit's own processes on this machine, which take the same way as those of Slurm."""
    good = load("digits/mixup", small[1:])
    bad = load("digits/mixup", [*small[1:], "method.alpha=-1"])
    jobs = [Job("good", good, RunFolder(Path("good"))), Job("bad", bad, RunFolder(Path("bad")))]
    display = Recorder()
    cluster = Cluster("local", ["timeout_min=10"], folder=tmp_path / "submitit", mode="resume")
    outcomes = SideBySide(cluster, display).run(jobs, [{}] * 2)
    assert outcomes[0].record
    assert len(display.rows) == len(outcomes[0].record["curve"]) == 2
    assert outcomes[1].failure.startswith("ConfigError: [method]: alpha must be > 0")
    assert "Traceback" in jobs[1].log.read_text(encoding="utf-8")
    assert not jobs[0].log.exists()
    assert Path("good/curves.png").is_file()
    assert display.texts["good"].startswith("error ")


def test_a_job_that_the_queue_refuses_costs_one_run(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit

    def refuse(*_: object) -> None:
        raise submitit.core.utils.FailedJobError("invalid partition")

    monkeypatch.setattr(submitit.LocalExecutor, "_submit_command", refuse)
    cluster = Cluster("local", [], folder=tmp_path / "submitit", mode="resume")
    outcomes = SideBySide(cluster, Recorder()).run([job("mixup", seed) for seed in range(2)], [{}])
    assert [outcome.failure for outcome in outcomes] == ["the job could not be submitted: invalid partition"] * 2


def test_a_job_that_is_killed_says_how_the_cluster_saw_it_end(tmp_path: Path) -> None:
    import submitit

    process = ClusterProcess(submitit.LocalExecutor(tmp_path / "submitit").submit(os.abort), io.StringIO())
    assert process.wait(Reporter()) == 1
    assert "has not produced any output (state: FINISHED)" in process.log.getvalue().splitlines()[-1]


def test_a_job_that_loses_its_node_continues_on_another() -> None:
    again = ChildRun().checkpoint("config", "folder", "overwrite")
    assert isinstance(again.function, ChildRun)
    assert again.args == ("config", "folder", "resume", "png")


@pytest.mark.parametrize(
    ("engine", "parameters", "message"),
    [
        ("ray", [], "--on ray: known are slurm and local"),
        ("local", ["gpus"], "--on: 'gpus' is not of the form KEY=VALUE"),
        ("local", ["gpu_count=1"], "--on local: .*gpu_count"),
        ("slurm", [], "--on slurm: "),  # where there is none
    ],
)
def test_a_cluster_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, parameters: list[str], message: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=message):
        Cluster(engine, parameters, folder=tmp_path, mode="resume")
