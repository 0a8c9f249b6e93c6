"""Runs that are told to stop, or killed, in any step and process, and go on with as many processes or another number.

By itself, ``python tests/runs/test_preemption.py`` is a launcher that reads plans. It forks their processes, so that
what they import is imported once. torchrun itself is in the slow tests.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup.training import checkpoint

KEYS = [
    "data.subset=4",
    "data.validation=20",
    "data.augment=none",
    "train.epochs=2",
    "train.device=cpu",
    "train.threads=1",
]
SMALL = ["model.width=2", "model.strides=[2,2,1,1]"]
PLAIN = ["model.name=plain_net:plain_net"]
PLAIN_NET = """
from torch import nn

def plain_net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, num_classes))
"""
SIGTERM, SIGKILL = int(signal.SIGTERM), int(signal.SIGKILL)
STOPPED = 130
OWN_ERROR = 0  # in place of a signal


def command(folder: str, method: str, *keys: str) -> list[str]:
    return ["train", "--config", f"digits/{method}", "--out", folder, "--resume", "--set", *KEYS, *keys]


Play = Callable[..., tuple[list[list[int]], str]]


@pytest.fixture(scope="module")
def launcher() -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def play(launcher: "subprocess.Popen[str]", tmp_path: Path) -> Play:
    """Do launches one after another; the exit status of each process of each, and what they said."""
    (tmp_path / "plain_net.py").write_text(PLAIN_NET)

    def do(*launches: dict[str, Any]) -> tuple[list[list[int]], str]:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        launcher.stdin.write(f"{json.dumps([str(tmp_path), launches])}\n")
        launcher.stdin.flush()
        return json.loads(launcher.stdout.readline()), (tmp_path / "said").read_text(encoding="utf-8")

    return do


def event(rank: int, step: int, number: int) -> dict[str, int]:
    """A process gets a signal before one of its steps, counted from 0."""
    return {"rank": rank, "step": step, "signal": number}


def progress(place: Path, folder: str = "run") -> tuple[int, int]:
    state = checkpoint.load(place / folder / "checkpoint.pt")["progress"]
    return state["epoch"], state["step"]


def outcome(place: Path, folder: str) -> dict[str, Any]:
    """What is the same of the same run."""
    record = json.loads((place / folder / "record.json").read_text(encoding="utf-8"))
    curve = [{key: value for key, value in row.items() if "second" not in key} for row in record["curve"]]
    state = checkpoint.load(place / folder / "checkpoint.pt")
    return {
        "curve": curve,
        "weights": record["weights_sha256"],
        "images": record["effective_batch_size"],
        **state["division"],
    }


def seen(place: Path, folder: str) -> dict[int, Counter[int]]:
    """How often each image was trained on, by epoch."""
    counts: dict[int, Counter[int]] = {}
    for line in (place / f"{folder}.seen").read_text(encoding="utf-8").splitlines():
        epoch, images = json.loads(line)
        counts.setdefault(epoch, Counter()).update(images)
    return counts


def test_neither_a_signal_to_one_process_nor_a_kill_of_all_changes_the_run(play: Play, tmp_path: Path) -> None:
    keys = [*SMALL, "train.batch_size=2", "train.accumulation=2", "train.ema_decay=0.5", "train.checkpoint_minutes=1"]
    whole, run = command("whole", "manifold_mixup", *keys), command("run", "manifold_mixup", *keys)
    stop, kills = event(1, 1, SIGTERM), [event(rank, 5, SIGKILL) for rank in range(2)]
    statuses, said = play(
        {"processes": 2, "command": whole},
        {"processes": 2, "command": run, "events": [stop], "copy": "stopped"},
        {"processes": 2, "command": run, "events": kills, "minutes": 1, "copy": "killed"},
        {"processes": 2, "command": run},
    )
    assert statuses == [[0, 0], [STOPPED, STOPPED], [-SIGKILL, -SIGKILL], [0, 0]], said
    assert said.count("interrupted; everything is saved") == 1
    assert progress(tmp_path, "stopped") == (0, 4)  # a wish is granted an update, two steps, after it was made
    assert progress(tmp_path, "killed") == (0, 8)  # due after the first update, granted after the second
    assert outcome(tmp_path, "run") == outcome(tmp_path, "whole")


def test_another_number_of_processes_makes_the_same_updates_of_the_same_images(play: Play, tmp_path: Path) -> None:
    keys = [*PLAIN, "train.batch_size=4"]
    whole, run = command("whole", "baseline", *keys), command("run", "baseline", *keys)
    statuses, said = play(
        {"processes": 2, "command": whole},
        {"processes": 2, "command": run, "events": [event(0, 1, SIGTERM)]},
        {"processes": 1, "command": run, "events": [event(0, 1, SIGTERM)]},
        {"processes": 2, "command": run},
    )
    assert statuses == [[0, 0], [STOPPED, STOPPED], [STOPPED], [0, 0]], said
    assert "each update of 8 images: 1 process x 2 x 4 images now, 2 processes x 4 images before" in said
    counts = seen(tmp_path, "run")
    assert {epoch: set(images.values()) for epoch, images in counts.items()} == {0: {1}, 1: {1}}
    assert counts == seen(tmp_path, "whole")
    changed, expected = outcome(tmp_path, "run"), outcome(tmp_path, "whole")
    assert changed["images"] == expected["images"] == 8
    for row, expected_row in zip(changed["curve"], expected["curve"], strict=True):
        assert row == pytest.approx(expected_row, rel=1e-3)


@pytest.mark.parametrize("lost", [(2,), (0, 1), pytest.param((0,), marks=pytest.mark.slow)])
def test_lost_processes_are_told_of_in_one_sentence(play: Play, lost: tuple[int, ...]) -> None:
    run = command("run", "mixup", *SMALL, "train.batch_size=2")
    statuses, said = play({"processes": 3, "command": run, "events": [event(rank, 3, SIGKILL) for rank in lost]})
    assert statuses == [[-SIGKILL if rank in lost else 1 for rank in range(3)]], said
    assert said.count("another process of this run is gone") == 1, said
    assert "Traceback" not in said


@pytest.mark.parametrize("failing", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_one_process_is_told_by_it_alone(play: Play, failing: int) -> None:
    run = command("run", "mixup", *SMALL, "train.batch_size=2")
    statuses, said = play({"processes": 3, "command": run, "events": [event(failing, 3, OWN_ERROR)]})
    assert statuses == [[1, 1, 1]], said
    assert said == f"alignmixup train: rank {failing}: an error of its own\n"


def test_an_error_beside_a_killed_process_ends_the_others(play: Play) -> None:
    """Rank 0 and rank 1 would wait for each other in what rank 2 left under way."""
    run = command("run", "mixup", *SMALL, "train.batch_size=2")
    events = [event(0, 3, OWN_ERROR), event(2, 3, SIGKILL)]
    statuses, said = play(*[{"processes": 3, "command": run, "events": events}] * 3)
    assert statuses == [[1, 1, -SIGKILL]] * 3, said
    assert said == "alignmixup train: rank 0: an error of its own\n" * 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_that_is_told_to_stop_saves_within_seconds(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    command_line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "slow.py"]
    arguments = ["train", "--config", "digits/mixup", "--out", "run", "--set", *KEYS, *SMALL, "train.batch_size=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "said", "w+", encoding="utf-8") as said:
        process = subprocess.Popen([*command_line, *arguments], cwd=tmp_path, env=environment, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + 240
            while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.05)
            begin = time.monotonic()
            process.send_signal(number)
            status = process.wait(timeout=60)
            seconds = time.monotonic() - begin
        finally:
            process.kill()
    text = (tmp_path / "said").read_text(encoding="utf-8")
    print(f"two processes stopped {seconds:.1f} s after {number.name}")
    assert status != 0
    assert seconds < 25, text  # torchrun would kill after 30
    assert text.count("interrupted; everything is saved") == 1
    epoch, step = progress(tmp_path)
    assert epoch == 0
    assert 0 < step < 20


SLOW = """
import sys, time
from pathlib import Path
from alignmixup.cli import main
from alignmixup.training import trainer

step = trainer.Trainer._train_step

def slow(self, x, y):
    if self.log.step == 2:
        Path("begun").touch()
    time.sleep(1)
    return step(self, x, y)

trainer.Trainer._train_step = slow
sys.exit(main(sys.argv[1:]))
"""


def rank_of(launch: dict[str, Any], rank: int, port: int) -> int:
    """One process of a launch."""
    from types import SimpleNamespace

    from alignmixup.cli import main
    from alignmixup.files import write_text
    from alignmixup.runs import training
    from alignmixup.training import trainer

    if launch["processes"] > 1:
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": launch["processes"], "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in places.items()}, MASTER_ADDR="127.0.0.1")
    folder = launch["command"][launch["command"].index("--out") + 1]
    step, done = trainer.Trainer._train_step, 0
    events = {event["step"]: event["signal"] for event in launch.get("events", ()) if event["rank"] == rank}

    def watched(self: Any, x: torch.Tensor, y: torch.Tensor) -> bool:
        nonlocal done
        if (number := events.get(done)) is not None:
            if number == OWN_ERROR:
                raise ValueError("an error of its own")
            os.kill(os.getpid(), number)
        updated = step(self, x, y)
        done += 1
        with os.fdopen(os.open(f"{folder}.seen", os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
            images = [zlib.crc32(image.numpy().tobytes()) for image in x]
            file.write(f"{json.dumps([self.epoch, images])}\n")
        return updated

    trainer.Trainer._train_step = watched  # type: ignore[method-assign]
    training.draw_curves = lambda record, path: write_text(path, "drawing takes longer than the run")  # type: ignore[assignment]
    if minutes := launch.get("minutes"):  # that a step seems to take
        clock = SimpleNamespace(monotonic=lambda: 60.0 * minutes * done, perf_counter=time.perf_counter)
        trainer.time = clock  # type: ignore[assignment]
    return main(launch["command"])


def start(launch: dict[str, Any]) -> list[int]:
    """Exit status of each process of a launch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(launch["processes"]):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                said = os.open("said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.dup2(said, 1)
                os.dup2(said, 2)
                status = rank_of(launch, rank, port)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    import shutil

    from alignmixup import data
    from alignmixup.runs import training as _training  # noqa: F401

    data.load("digits")
    for line in sys.stdin:
        place, launches = json.loads(line)
        os.chdir(place)
        statuses = []
        for one in launches:
            statuses.append(start(one))
            if one.get("copy"):
                shutil.copytree("run", one["copy"])
        print(json.dumps(statuses), flush=True)
