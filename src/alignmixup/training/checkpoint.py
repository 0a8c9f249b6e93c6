"""One resumable file per run, replaced atomically: a crash leaves the last good one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from alignmixup.training.config import Config
from alignmixup.training.config_file import first_difference, from_dict

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that `load` can read.

    Args:
        path: where it stands when complete; an older one is replaced only then.
        state: tensors, numbers, texts, lists and dictionaries.

    Raises:
        OSError: the disk is full or not writable; the older file is untouched.
    """
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running any code that the file may hold.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, damaged, or of another format.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); start anew with --overwrite"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path} has checkpoint format {found!r}, expected {FORMAT}; start anew with --overwrite")
    return state


def check_matches(state: dict[str, Any], config: Config, *, path: Path, world_size: int) -> None:
    """Refuse to continue a run with another configuration or another number of processes.

    Raises:
        ValueError: names the first key that differs, with both values.
    """
    stored = from_dict(state["config"], source=str(path))
    difference = first_difference(stored, config)
    if difference:
        raise ValueError(
            f"{path} belongs to another configuration: {difference}. "
            "Continue with its own configuration, choose another --out, or start anew with --overwrite"
        )
    if len(state["ranks"]) != world_size:
        raise ValueError(
            f"{path} was written by {len(state['ranks'])} processes and cannot continue with {world_size}; "
            f"start {len(state['ranks'])} processes"
        )


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside ``path``, flush it to the disk, then rename it onto ``path``.

    Raises:
        OSError: with the path and what happened; ``path`` keeps its old content and no part of the new is
            left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # torch.save reports a full disk as RuntimeError from its zip writer.
        if isinstance(error, (OSError, RuntimeError)):
            kept = "; the one written before is untouched" if path.exists() else ""
            way_out = "make room and continue with --resume, or choose another --out"
            raise OSError(f"cannot write {path}: {_reason(error)}{kept}; {way_out}") from error
        raise


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] + " (is the disk full?)"
