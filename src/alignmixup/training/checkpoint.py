"""One resumable file per run, replaced atomically: a crash leaves the last good one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from alignmixup.files import check_is_file, write_atomically
from alignmixup.models.weights import check_intact
from alignmixup.training.config import Config
from alignmixup.training.config_file import from_dict
from alignmixup.training.meaning import first_difference
from alignmixup.training.processes.division import Division

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that `load` can read.

    Raises:
        OSError: the disk is full or not writable; the older file is untouched.
    """
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, whole or not at all, without running any code that the file may hold.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, damaged, or of another format.
    """
    try:
        check_is_file(path)
        check_intact(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); start anew with --overwrite"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path} has checkpoint format {found!r}, expected {FORMAT}; start anew with --overwrite")
    return state


def check_matches(state: dict[str, Any], config: Config, *, path: Path) -> None:
    """Refuse to continue a run with another configuration."""
    stored = from_dict(state["config"], source=str(path))
    difference = first_difference(stored, config)
    if difference:
        raise ValueError(
            f"{path} belongs to another configuration: {difference}. "
            "Continue with its own configuration, choose another --out, or start anew with --overwrite"
        )


def division_of(state: dict[str, Any]) -> Division:
    """How the images of an update were divided when a checkpoint was written; older ones do not say."""
    if "division" in state:
        return Division(**state["division"])
    train = state["config"]["train"]
    return Division(len(state["ranks"]), train["batch_size"], train["accumulation"])
