"""Full-width PreActResNet-18 on CIFAR-100, fast recipe, as many epochs as the clock allows, over several calls."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu import page
from benchmarks.gpu.images import unpack
from benchmarks.gpu.task import Findings, Task

from alignmixup import runs
from alignmixup.records import read_record
from alignmixup.runs.folder import RunFolder
from alignmixup.training import checkpoint
from alignmixup.training.config import Config
from alignmixup.training.config_file import load
from alignmixup.training.trainer import InterruptedRunError

METHODS = ("baseline", "alignmixup")
TARGET = 50_000  # images/s of the baseline that a GPU of the year should reach
PIECE = 15 * 2**20  # bytes of one file of a checkpoint
SHARE = 0.8  # of the time left that the planned epochs take
RECIPE_EPOCHS = 200


def train(task: Task, findings: Findings) -> None:
    """Both methods in turn; a second call with ``--resume`` goes on where the first was stopped."""
    begin = time.monotonic()
    root = unpack(task.data, task.work / "images") if task.data.is_file() else task.data
    earlier = page.read(task.resume / "gpu.json")["stages"].get("training", {}).get("found", {}) if task.resume else {}
    epochs = int(earlier["epochs"]) if "epochs" in earlier else _plan(task, root, findings, begin)
    findings.put("epochs", epochs)
    findings.put("images/s aimed at", TARGET)
    for name in METHODS:
        if name in earlier and "failed" not in earlier[name]:
            findings.put(name, earlier[name])
            continue
        config, folder = _config(task, root, name, epochs), RunFolder(task.work / "training" / name)
        if task.resume:
            restore(task.resume, name, config, folder)
        try:
            runs.train(config, folder, mode="resume")
        except InterruptedRunError:
            pieces = keep(folder, task.out, name)
            findings.put(f"{name}, unfinished", f"go on with --resume {task.out} ({pieces} pieces of a checkpoint)")
            return
        findings.put(name, _result(folder))


def _plan(task: Task, root: Path, findings: Findings, begin: float) -> int:
    """Time two epochs of each method; as many of both as fit into what is left of the time."""
    seconds = 0.0
    for name in METHODS:
        folder = RunFolder(task.work / "training" / f"{name}-timed")
        curve = runs.train(_config(task, root, name, 2), folder)["curve"]
        findings.put(f"{name}, images/s of the second epoch", curve[1]["images_per_second"])
        seconds += curve[1]["train_seconds"] + curve[1]["evaluation_seconds"]
    left = task.seconds - (time.monotonic() - begin)
    most = 3 if task.toy else RECIPE_EPOCHS
    return max(2, min(most, int(SHARE * left / seconds)))


def _config(task: Task, root: Path, name: str, epochs: int) -> Config:
    config = load(
        f"cifar100/fast/{name}",
        [
            f'data.root="{root}"',
            f"train.epochs={epochs}",
            f"schedule.warmup_epochs={min(5.0, epochs / 10)}",
            f"train.device={task.device}",
            "train.precision=auto",
            "train.channels_last=true",
            "evaluation.every=1",
        ],
    )
    if not task.toy:
        return config
    small = replace(config.model, options={**config.model.options, "width": 4})
    return replace(config, model=small, train=replace(config.train, batch_size=8))


def _result(folder: RunFolder) -> dict[str, Any]:
    record = read_record(folder.record)
    metrics = record["metrics"]
    return {
        "error %": metrics["last_error_percent"],
        "mean error % of the last 10": metrics["last10_error_percent"],
        "images/s": metrics["images_per_second"],
        "of the target": metrics["images_per_second"] / TARGET,
        "seconds": metrics["seconds"],
        "training images": record["curve"][0]["images"],
        "epochs": metrics["epochs"],
        "precision": record["config"]["train"]["precision"],
        "seed": record["seed"],
        "error % by epoch": " ".join(f"{row['error_percent']:.2f}" for row in record["curve"]),
    }


def keep(folder: RunFolder, out: Path, name: str) -> int:
    """Write a run's checkpoint in pieces, its weights in float16 and its momentum in bfloat16; return how many.

    Half of the size is what lets a full-width network be carried away. A resumed run is therefore not bit for bit the
    one that was never stopped.
    """
    state = checkpoint.load(folder.checkpoint)
    state["model"] = _as(state["model"], torch.float32, torch.float16)
    state["optimizer"] = _as(state["optimizer"], torch.float32, torch.bfloat16)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
    for number, piece in enumerate(pieces):
        (out / f"{name}.checkpoint.{number}").write_bytes(piece)
    return len(pieces)


def restore(source: Path, name: str, config: Config, folder: RunFolder) -> None:
    """Make a run folder from the pieces that `keep` wrote; nothing where there are none."""
    pieces = sorted(source.glob(f"{name}.checkpoint.*"), key=lambda path: int(path.suffix[1:]))
    if not pieces:
        return
    state = torch.load(io.BytesIO(b"".join(piece.read_bytes() for piece in pieces)), weights_only=True)
    state["model"] = _as(state["model"], torch.float16, torch.float32)
    state["optimizer"] = _as(state["optimizer"], torch.bfloat16, torch.float32)
    folder.path.mkdir(parents=True)
    checkpoint.save(folder.checkpoint, {key: value for key, value in state.items() if key != "format"})
    folder.reopen(config.settled(state["config"]["train"]["precision"]))


def _as(value: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """The same structure with tensors of one type as another."""
    if isinstance(value, dict):
        return {key: _as(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_as(one, old, new) for one in value]
    return value.to(new) if isinstance(value, torch.Tensor) and value.dtype == old else value
