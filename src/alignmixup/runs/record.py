"""The record of a run: one JSON file with its configuration, its numbers and their circumstances."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alignmixup.records import RECORD_FORMAT as FORMAT
from alignmixup.records import last_ten
from alignmixup.training.config import Config, to_dict

if TYPE_CHECKING:
    import torch

_PACKAGES = ("alignmixup", "torchvision", "timm", "numpy", "scikit-learn", "safetensors")


def build_record(
    config: Config, curve: Sequence[dict[str, Any]], *, parameters: int, device: torch.device, world_size: int
) -> dict[str, Any]:
    """Everything known about a finished run.

    Convention:
        - Epochs count from 0. Errors and times carry their unit in the key.
        - ``train_seconds`` and ``images_per_second`` cover training steps alone, ``seconds`` evaluation too.
        - ``effective_batch_size`` is of the processes that began, which whoever trained knows, and adds.
    """
    return {
        "format": FORMAT,
        "finished": True,
        "config": to_dict(config),
        "seed": config.train.seed,
        "metrics": summarise(curve) | {"parameters": parameters},
        "curve": list(curve),
        "environment": environment(device, world_size=world_size),
        "revision": source_revision(),
    }


def summarise(curve: Sequence[dict[str, Any]]) -> dict[str, float | int]:
    """Best and last error, its mean over the last ten epochs, and the time, of a curve."""
    evaluated = [row for row in curve if "error_percent" in row]
    best = min(evaluated, key=lambda row: row["error_percent"])
    last = evaluated[-1]
    images = sum(row["images"] for row in curve)
    train_seconds = sum(row["train_seconds"] for row in curve)
    return {
        "best_error_percent": best["error_percent"],
        "best_epoch": best["epoch"],
        "last_error_percent": last["error_percent"],
        "last10_error_percent": fmean(last_ten(curve)),
        "last_top5_error_percent": last["top5_error_percent"],
        "last_cross_entropy": last["cross_entropy"],
        "epochs": len(curve),
        "seconds": train_seconds + sum(row.get("evaluation_seconds", 0.0) for row in curve),
        "train_seconds": train_seconds,
        "images_per_second": images / train_seconds,
    }


def best_chosen_on(config: Mapping[str, Any]) -> str:
    """Which images chose the best epoch of a run of this configuration; of the test set the choice is optimistic."""
    return "held-out training images" if config["data"].get("validation") else "the test set"


def portable(config: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A configuration without paths of the machine where it ran: their last part is left, of the data "data"."""
    short = {table: {key: last_part(value) for key, value in config[table].items()} for table in config}
    return short | {"data": short["data"] | {"root": "data"}}


def last_part(value: Any) -> Any:
    """Of an absolute path its last part; anything else as it is."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def environment(device: torch.device, *, world_size: int = 1) -> dict[str, Any]:
    """Versions and hardware."""
    import torch  # what the page and the tables take from here needs none

    return {
        "python": platform.python_version(),
        "packages": {"torch": str(torch.__version__)}
        | {name: version for name in _PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "processes": world_size,
    }


def machine(record: Mapping[str, Any]) -> str:
    """What a run was computed by: its GPU, or its processor."""
    found = record.get("environment", {})
    return str(found.get("gpu") or found.get("processor") or "unknown machine")


def rounding(record: Mapping[str, Any]) -> str:
    """What the rounding of a run depends on beside its configuration: the machine and the version of torch."""
    return f"{machine(record)}, torch {record.get('environment', {}).get('packages', {}).get('torch', 'unknown')}"


def source_revision() -> dict[str, Any]:
    """Commit of the checkout that holds the package, and whether files differ from it; None outside one."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
