"""A run is killed before each of its file events in turn; the same command then gives what an undisturbed one gives.

By itself, ``python tests/runs/test_crashes.py extension FOLDER`` prints the table: event, and what came of it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.files import write_text

KILLED = 9
SMALL = ["data.subset=2", "model.width=2", "model.strides=[2,2,1,1]", "schedule.name=constant", "train.device=cpu"]
SMALL += ["data.validation=10", "train.batch_size=10", "train.ema_decay=0.5", "train.threads=1"]


def new(folder: Path, *keys: str, how: str = "") -> list[str]:
    chosen = [*SMALL, "train.epochs=2", *keys]
    return ["train", "--config", "digits/mixup", "--out", str(folder), *([how] if how else []), "--set", *chosen]


def longer(folder: Path) -> list[str]:
    return ["train", "--resume", "--out", str(folder), "--set", "train.epochs=3"]


# the command that is killed, the commands that make what it finds (None: a run that was killed at its last checkpoint),
# and the commands of the undisturbed run
SCENARIOS: dict[str, tuple[Callable[[Path], list[str]], list[Callable[[Path], list[str]]] | None, tuple[str, ...]]] = {
    "new": (new, [], ("train.epochs=2",)),
    "resume": (lambda folder: new(folder, how="--resume"), None, ("train.epochs=2",)),
    "extension": (longer, [new], ("train.epochs=3",)),
    "overwrite": (
        lambda folder: new(folder, how="--overwrite"),
        [lambda folder: new(folder, "train.seed=1")],
        ("train.epochs=2",),
    ),
}


@pytest.mark.parametrize("scenario", ["new", pytest.param("resume", marks=pytest.mark.slow), "extension", "overwrite"])
def test_a_kill_before_any_file_event_loses_nothing(scenario: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, scenario, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads(done.stdout.splitlines()[-1])
    assert len(table) > 15
    assert {event.partition(" ")[0] for event, _ in table} >= {"open", "replace"}
    assert [row for row in table if row[1] != "the same"] == []


def in_a_child(work: Callable[[], int]) -> int:
    """Exit status of a forked process, which begins with everything imported."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watched(folder: Path, tell: Callable[[str], None]) -> None:
    """Call ``tell`` before whatever changes a file of ``folder``."""
    import builtins
    import io

    def wrap(module: Any, name: str, changes: Callable[..., bool] = lambda *_, **__: True) -> None:
        function = getattr(module, name)

        def wrapped(path: Any, *arguments: Any, **keywords: Any) -> Any:
            target = Path(arguments[0] if name == "replace" else path) if not isinstance(path, int) else Path("/")
            if changes(*arguments, **keywords) and (folder in target.parents or folder == target):
                tell(f"{name} {target.relative_to(folder.parent)}")
            return function(path, *arguments, **keywords)

        setattr(module, name, wrapped)

    def writes(mode: str = "r", *_: Any, **__: Any) -> bool:
        return any(letter in mode for letter in "wax+")

    for name in ("replace", "unlink", "remove", "mkdir", "rmdir", "rename"):
        wrap(os, name)
    wrap(builtins, "open", writes)
    wrap(io, "open", writes)


def run(command: list[str], folder: Path, *, kill_at: int | None = None, log: Path | None = None) -> int:
    """Do a command in a process of its own, which dies before its event number ``kill_at``."""

    def work() -> int:
        from alignmixup.cli import main

        count = 0

        def tell(event: str) -> None:
            nonlocal count
            if count == kill_at:
                os._exit(KILLED)
            count += 1
            if log is not None:
                with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
                    file.write(f"{event}\n")

        sys.stdout = sys.stderr
        watched(folder, tell)
        return main(command)

    return in_a_child(work)


def bits(folder: Path) -> dict[str, Any]:
    """Everything of a finished run that is the same whenever it is made."""
    import torch

    record = json.loads((folder / "record.json").read_text())
    curve = [{key: value for key, value in row.items() if "second" not in key} for row in record["curve"]]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in record["weights_sha256"]}
    return {
        "files": sorted(os.listdir(folder)),
        "config": (folder / "config.toml").read_text(),
        "curve": curve,
        "weights": sums,
        "recorded": record["weights_sha256"] == sums,
        "progress": [state["progress"]["epoch"], state["progress"]["step"]],
    }


def tells_what_is_there(folder: Path) -> bool:
    """A record, if there is one, is of the configuration and the weights that lie beside it."""
    if not (folder / "record.json").is_file():
        return True
    record = json.loads((folder / "record.json").read_text())
    config = tomllib.loads((folder / "config.toml").read_text())
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in record["weights_sha256"]}
    return record["config"] == config and record["weights_sha256"] == sums


def made(scenario: str, folder: Path) -> None:
    """What the command finds."""
    before = SCENARIOS[scenario][1]
    if before is None:
        log = folder.with_suffix(".before")
        assert run(new(folder), folder, log=log) == 0
        last = max(n for n, line in enumerate(log.read_text().splitlines()) if line.endswith("/checkpoint.pt"))
        shutil.rmtree(folder)
        assert run(new(folder), folder, kill_at=last) == KILLED
    for command in before or []:
        assert run(command(folder), folder) == 0


def kill_everywhere(scenario: str, place: Path) -> list[tuple[str, str]]:
    """Each event, and what came of a kill before it."""
    from alignmixup.cli import main
    from alignmixup.runs import training

    training.draw_curves = lambda record, path: write_text(path, "drawing takes longer than the run")
    command, _, keys = SCENARIOS[scenario]
    whole, start, folder = place / "whole", place / "start" / "run", place / "run"
    assert main(new(whole, *keys)) == 0  # in this process: the children then begin with all that it imports
    expected = bits(whole)
    start.parent.mkdir()
    made(scenario, start)
    log, outcomes = place / "events", []

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if start.exists():
            shutil.copytree(start, folder)

    fresh()
    assert run(command(folder), folder, log=log) == 0
    assert bits(folder) == expected
    for number, event in enumerate(log.read_text().splitlines()):
        fresh()
        assert run(command(folder), folder, kill_at=number) == KILLED
        outcome = "the same" if tells_what_is_there(folder) else "a record of something else"
        if run(command(folder), folder):  # a new run does not touch what is there: its message says to add this
            run([*command(folder), "--resume"], folder)
        try:
            if bits(folder) != expected:
                outcome = f"differs: {[key for key, value in bits(folder).items() if value != expected[key]]}"
        except (OSError, ValueError) as error:
            outcome = f"not finished: {error}"
        outcomes.append((event, outcome))
    return outcomes


if __name__ == "__main__":
    rows = kill_everywhere(sys.argv[1], Path(sys.argv[2]).resolve())
    for event, outcome in rows:
        print(f"{event:60} {outcome}", file=sys.stderr)
    print(json.dumps(rows))
