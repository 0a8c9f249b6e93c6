"""A command is stopped before each of its file events; the same command then gives what an undisturbed one gives.

What a kill before an event leaves is what lies in the folder at that moment: one run is enough to copy it for every
event, and a few real kills show that the copies are right. Full disks are played: from an event on, nothing can be
written.

By itself, ``python -m tests.runs.test_crashes kill extension FOLDER`` prints the table: event, and what came of it.
"""

import errno
import functools
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sklearn.datasets
import torch
from tests.processes import in_processes
from torch import nn

from alignmixup.figures import comparison, curves, style_grid
from alignmixup.files import write_text
from alignmixup.models import _BUILDERS, PreActResNet18
from alignmixup.runs import evaluation, localization_report, training

pytestmark = pytest.mark.xdist_group("processes")

KILLED = 9
DEAD = 4_194_305  # larger than any number of a process on Linux
SMALL = ["data.subset=2", "model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu", "train.threads=1"]
TRAINED = [*SMALL, "schedule.name=constant", "data.validation=10", "train.batch_size=10", "train.ema_decay=0.5"]

Command = Callable[[Path], list[str]]


@functools.wraps(PreActResNet18)
def plain_net(*, num_classes: int, in_channels: int, **_: object) -> nn.Module:
    """Few tensors: writing and reading those of the whole network takes longer than training it."""
    return nn.Sequential(
        *(nn.Conv2d(in_channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)),
    )


def new(folder: Path, *keys: str, how: str = "", epochs: int = 2) -> list[str]:
    chosen = [*TRAINED, f"train.epochs={epochs}", *keys]
    return ["train", "--config", "digits/mixup", "--out", str(folder), *([how] if how else []), "--set", *chosen]


def longer(folder: Path) -> list[str]:
    return ["train", "--resume", "--out", str(folder), "--set", "train.epochs=3"]


def compare(folder: Path) -> list[str]:
    chosen = ["--seeds", "1", "--out", str(folder), "--set", *SMALL, "train.epochs=1", "data.validation=0.0"]
    return ["compare", "--methods", "baseline,mixup", *chosen]


def evaluate(folder: Path) -> list[str]:
    return ["evaluate", str(folder), "--what", "calibration", "--ood", "uniform", "--limit", "20"]


def on_images(folder: Path) -> list[str]:
    """Make a few images with boxes, and train on them."""
    from PIL import Image

    lines = ["path,x0,y0,x1,y1"]
    for path in ("train/cat/0", "train/dog/0", "test/cat/0", "test/dog/0"):
        file = folder / "images" / f"{path}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (30, 200, 90)).save(file)
        lines.append(f"{path}.png,2,3,9,12")
    (folder / "boxes.csv").write_text("\n".join(lines[:1] + lines[3:]) + "\n")
    data = ["data.name=folder", f"data.root={folder / 'images'}", "data.image_size=16", "data.workers=0"]
    keys = [*data, "model.width=2", "model.in_channels=3", "train.epochs=1", "train.threads=1", "train.device=cpu"]
    return ["train", "--config", "digits/baseline", "--out", str(folder / "run"), "--set", *keys]


def localize(folder: Path) -> list[str]:
    where = ["--boxes", str(folder / "boxes.csv"), "--maps-out", str(folder / "maps"), "--out", str(folder / "out")]
    return ["localize", str(folder / "run"), *where, "--step", "0.05", "--pictures", "1"]


def classifier(folder: Path) -> list[str]:
    keys = ["data.name=digits", "model.width=16", *SMALL, "train.epochs=1"]
    return ["train", "--config", "digits/baseline", "--out", str(folder / "style-classifier"), "--set", *keys]


def style(folder: Path) -> list[str]:
    keys = ["--epochs", "2", "--batch-size", "10", "--set", *SMALL, "train.epochs=1"]
    return ["train-style", "--data", "digits", "--out", str(folder / "style.safetensors"), *keys]


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("command", "revision", "sha256_of_the_rest")  # the checksum is of the times too
        kept = (key for key in value if "second" not in key and key not in left_out)
        return {key: without_times(value[key]) for key in kept}
    return [without_times(own) for own in value] if isinstance(value, list) else value


def listing(folder: Path) -> dict[str, int]:
    """Names and sizes of all files, whatever process wrote them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    return {re.sub(r"\.\d+\.tmp$", ".tmp", str(file.relative_to(folder))): file.stat().st_size for file in files}


def names(folder: Path) -> list[str]:
    """What lies there; a lock that was left blocks nobody."""
    return [name for name in sorted(listing(folder)) if not name.endswith(".lock")]


def of_run(folder: Path) -> dict[str, Any]:
    """Everything of a finished run that is the same whenever it is made."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    sums = {name: digest(folder / name) for name in record["weights_sha256"]}
    return {
        "files": names(folder),
        "config": (folder / "config.toml").read_text(encoding="utf-8"),
        "curve": without_times(record["curve"]),
        "weights": sums,
        "recorded": record["weights_sha256"] == sums,
        "progress": [state["progress"]["epoch"], state["progress"]["step"]],
    }


def of_folder(folder: Path) -> dict[str, Any]:
    """Everything in a folder that is the same whenever it is made."""
    from safetensors import safe_open

    found: dict[str, Any] = {"files": names(folder)}
    for file in sorted(folder.rglob("*")):
        if file.name == "style.safetensors":
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name).tolist() for name in opened.keys()}  # noqa: SIM118
                metadata = without_times(json.loads(opened.metadata()["style_autoencoder"]))
            found[file.name] = (tensors, metadata)
        elif file.suffix in (".npy", ".safetensors", ".toml"):
            found[str(file.relative_to(folder))] = digest(file)
        elif file.suffix == ".json":
            found[str(file.relative_to(folder))] = without_times(json.loads(file.read_text(encoding="utf-8")))
    return found


@dataclass(frozen=True)
class Scenario:
    """The command that is stopped, what makes what it finds, and what an undisturbed one leaves."""

    command: Command
    before: tuple[Command, ...] = ()
    cut_at: str = ""  # the last of ``before`` is killed at its last event of this file
    undisturbed: Command | None = None
    result: Callable[[Path], dict[str, Any]] = of_folder


SCENARIOS = {
    "new": Scenario(new, result=of_run),
    "resume": Scenario(lambda folder: new(folder, how="--resume"), (new,), "checkpoint.pt", result=of_run),
    "extension": Scenario(longer, (new,), undisturbed=lambda folder: new(folder, epochs=3), result=of_run),
    "overwrite": Scenario(
        lambda folder: new(folder, how="--overwrite"),
        (lambda folder: new(folder, "train.seed=1"),),
        undisturbed=new,
        result=of_run,
    ),
    "compare": Scenario(compare),
    "evaluate": Scenario(evaluate, (lambda folder: new(folder, epochs=1),)),
    "localize": Scenario(localize, (on_images,)),
    "train-style": Scenario(style, (classifier,)),
}


def table(how: str, scenario: str, place: Path) -> list[tuple[str, str]]:
    in_processes(work, how, scenario, place)
    return [tuple(row) for row in json.loads((place / "table.json").read_text(encoding="utf-8"))]


def work(_: int, how: str, scenario: str, place: Path) -> None:
    """Make the table in a process of its own, which it changes and which is forked."""
    torch.set_num_threads(1)
    quick()
    if scenario != "train-style":  # which takes the network apart
        _BUILDERS["preact_resnet18"] = plain_net
    everywhere = {"kill": kill_everywhere, "fill": fill_everywhere}[how]
    (place / "table.json").write_text(json.dumps(everywhere(scenario, place)))


def chosen(slow: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in SCENARIOS]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chosen(("new", "resume", "overwrite", "train-style")))
def test_a_kill_before_any_file_event_loses_nothing(scenario: str, tmp_path: Path) -> None:
    rows = table("kill", scenario, tmp_path)
    assert {event.partition(" ")[0] for event, _ in rows} >= {"open", "fsync", "replace", "unlink"}
    assert [row for row in rows if row[1] != "the same"] == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chosen(("resume", "extension", "overwrite", "compare", "localize", "train-style")))
def test_a_full_disk_is_said_and_loses_nothing(scenario: str, tmp_path: Path) -> None:
    rows = table("fill", scenario, tmp_path)
    assert len(rows) >= 3
    assert [row for row in rows if row[1] != "the same"] == []


@contextmanager
def watched(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Call ``tell`` before whatever changes a file of ``folder``, unless it is itself at work."""
    import builtins

    busy, originals = False, []

    def about(path: Any, second: Any, name: str) -> Path | None:
        if isinstance(path, int):
            return Path(os.readlink(f"/proc/self/fd/{path}")) if name == "fsync" else None
        return Path(os.fspath(second if name in ("replace", "rename") else path))

    def wrap(module: Any, name: str, changes: Callable[..., bool] = lambda *_, **__: True) -> None:
        function = getattr(module, name)

        def wrapped(path: Any, *arguments: Any, **keywords: Any) -> Any:
            nonlocal busy
            target = about(path, *arguments[:1] or [None], name)
            inside = target is not None and (folder in target.parents or folder == target)
            if inside and not busy and changes(*arguments, **keywords):
                busy = True
                try:
                    named = re.sub(r"\.\d+\.tmp$", ".tmp", str(target.relative_to(folder.parent)))
                    tell(f"{name} {named}")
                finally:
                    busy = False
            return function(path, *arguments, **keywords)

        originals.append((module, name, function))
        setattr(module, name, wrapped)

    def writes(mode: str = "r", *_: Any, **__: Any) -> bool:
        return any(letter in mode for letter in "wax+")

    for name in ("replace", "unlink", "remove", "mkdir", "rmdir", "rename", "fsync"):
        wrap(os, name)
    for module in (builtins, io):
        wrap(module, "open", writes)
    wrap(os, "open", lambda flags=0, *_, **__: bool(flags & os.O_CREAT))
    try:
        yield
    finally:
        for module, name, function in reversed(originals):
            setattr(module, name, function)


def do(command: list[str]) -> tuple[int, str]:
    """Exit status and what was said."""
    from alignmixup import files
    from alignmixup.cli import main

    files._clear_once.cache_clear()  # once a process, and each command is one
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        status = main(command)
    return status, said.getvalue()


def kill(command: list[str], folder: Path, *, at: int) -> None:
    """Do a command in a forked process, which is killed before its event number ``at``."""
    count = 0

    def tell(event: str) -> None:
        nonlocal count
        if count == at:
            os._exit(KILLED)
        count += 1

    child = os.fork()
    if child == 0:
        try:
            with watched(folder, tell):
                do(command)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def replaced(folder: Path, by: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if by.exists():
        shutil.copytree(by, folder)


def as_of_a_dead_process(folder: Path) -> None:
    for file in list(folder.rglob("*.tmp")):
        file.rename(file.with_name(re.sub(r"\.\d+\.tmp$", f".{DEAD}.tmp", file.name)))


def record(command: list[str], folder: Path, copies: Path) -> list[str]:
    """Do a command; return its events, and leave a copy of the folder as it was before each."""
    events: list[str] = []

    def tell(event: str) -> None:
        if folder.exists():
            shutil.copytree(folder, copies / str(len(events)))
            as_of_a_dead_process(copies / str(len(events)))
        events.append(event)

    with watched(folder, tell):
        status, said = do(command)
    assert status == 0, said
    return events


def prepared(scenario: str, place: Path) -> tuple[Scenario, Path, Path, dict[str, Any], list[str]]:
    """The folder, a copy of it as the command finds it, what an undisturbed one leaves, and its events."""
    own, folder, start, copies = SCENARIOS[scenario], place / "run", place / "start", place / "copies"
    for command in own.before:
        copied = place / "cut"
        events = record(command(folder), folder, copied)
        if own.cut_at:
            last = max(number for number, event in enumerate(events) if event == f"replace run/{own.cut_at}")
            replaced(folder, copied / str(last))
        shutil.rmtree(copied)
    if folder.exists():
        shutil.copytree(folder, start)
    events = record(own.command(folder), folder, copies)
    expected = own.result(folder)
    if own.undisturbed is not None:
        whole = place / "whole" / "run"
        status, said = do(own.undisturbed(whole))
        assert status == 0, said
        assert own.result(whole) == expected
    return own, folder, start, expected, events


def quick() -> None:
    """Leave out what takes longer than the work, and changes nothing of the order in which files are written."""
    os.fsync = lambda handle: None  # the system outlives its processes here
    sklearn.datasets.load_digits = functools.cache(sklearn.datasets.load_digits)

    def drawn(path: Path) -> None:
        write_text(path, "drawing takes longer than the run")

    training.draw_curves = curves.draw_curves = lambda record, path: drawn(path)
    comparison.draw_comparison = lambda results, path: drawn(path)
    evaluation._DRAWN = {"calibration": lambda groups, path: drawn(path)}
    evaluation.draw_ood = lambda logits, others, path, **_: drawn(path)
    localization_report.draw_threshold_curves = lambda lines, path, **_: drawn(path)
    localization_report.draw_boxes = lambda images, truth, rows, path, **_: drawn(path)
    style_grid.draw_style_grid = lambda autoencoder, images, path: drawn(path)


def outcome_of_trying_again(own: Scenario, folder: Path, expected: dict[str, Any]) -> str:
    """What the same command makes of what lies there; a new run does not touch it, and a finished file stays."""
    status, said = do(own.command(folder))
    if status and "--resume " in said:
        status, said = do([*own.command(folder), "--resume"])
    if status and "is there already: --overwrite replaces it" not in said:
        return f"not finished: {said.splitlines()[-1]}"
    found = own.result(folder)
    return "the same" if found == expected else f"differs: {[key for key in found if found[key] != expected.get(key)]}"


def tells_what_is_there(folder: Path) -> bool:
    """A record, if there is one, is of the configuration and the weights that lie beside it."""
    if not (folder / "record.json").is_file():
        return True
    recorded = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    sums = {name: digest(folder / name) for name in recorded["weights_sha256"]}
    return bool(recorded["config"] == config and recorded["weights_sha256"] == sums)


def kill_everywhere(scenario: str, place: Path) -> list[tuple[str, str]]:
    """Each event, and what came of a kill before it."""
    own, folder, start, expected, events = prepared(scenario, place)
    outcomes: list[tuple[str, str]] = []
    before: dict[str, int] | None = None
    for number, event in enumerate(events):
        copy = place / "copies" / str(number)
        if number in (0, len(events) // 2, len(events) - 1):
            replaced(folder, start)
            kill(own.command(folder), folder, at=number)
            assert listing(folder).keys() == listing(copy).keys()
        else:
            replaced(folder, copy)
        left = listing(folder)
        if left == before:  # as after the event before: what comes of it is known
            outcomes.append((event, outcomes[-1][1]))
        elif not tells_what_is_there(folder):
            outcomes.append((event, "a record of something else"))
        else:
            outcomes.append((event, outcome_of_trying_again(own, folder, expected)))
        before = left
    return outcomes


def fill_everywhere(scenario: str, place: Path) -> list[tuple[str, str]]:
    """Each event that needs room, the first of each file, and what came of a disk that was full from there on."""
    own, folder, start, expected, events = prepared(scenario, place)
    needing = [event for event in dict.fromkeys(events) if event.partition(" ")[0] in ("open", "fsync", "mkdir")]
    outcomes = []
    for event in needing:
        full = False

        def tell(now: str, event: str = event) -> None:
            nonlocal full
            full = full or now == event
            if full and now.partition(" ")[0] in ("open", "fsync", "mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), now)

        replaced(folder, start)
        with watched(folder, tell):
            status, said = do(own.command(folder))
        outcomes.append((event, clearly(status, said, folder, before=listing(start)) or then(own, folder, expected)))
    return outcomes


def clearly(status: int, said: str, folder: Path, *, before: Container[str]) -> str:
    """What is wrong with how a command ended on a full disk; empty if nothing is.

    What lay there ``before``, such as the lock of a process that was killed, may lie there still.
    """
    lines = [line for line in said.splitlines() if "No space left on device" in line]
    if not status or len(lines) != 1 or "Traceback" in said:
        return f"ends with {status}: {said[-600:]}"
    left = [name for name in listing(folder) if name.endswith((".tmp", ".probe", ".lock")) and name not in before]
    return f"leaves {left}" if left else ""


def then(own: Scenario, folder: Path, expected: dict[str, Any]) -> str:
    """With room again: plain, --resume and --overwrite do as they say."""
    if own.command is not new:
        return outcome_of_trying_again(own, folder, expected)
    left = folder.with_name("left")
    replaced(left, folder)
    outcome = outcome_of_trying_again(own, folder, expected)
    for how in ("--resume", "--overwrite"):
        replaced(folder, left)
        status, said = do(new(folder, how=how))
        if status or of_run(folder) != expected:
            outcome = f"{how}: {said}"
    return outcome


if __name__ == "__main__":
    where = Path(sys.argv[3]).resolve()
    work(0, *sys.argv[1:3], where)
    for event, outcome in json.loads((where / "table.json").read_text(encoding="utf-8")):
        print(f"{event:60} {outcome}")
