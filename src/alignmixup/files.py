"""Files that are whole or not there: written beside their place, then renamed onto it. Imports no torch."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from alignmixup.outside import require

__all__ = ["read_array", "read_json", "read_record", "sweep", "write_atomically", "write_json", "write_text"]

RECORD_FORMAT = 1

_TEMPORARY = re.compile(r"\.probe|\..+\.\d+\.tmp")


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


def write_text(path: Path, text: str) -> None:
    """Write a text atomically, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; a number that is not finite is refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object")
    return content


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: damaged, or something else.
    """
    try:
        record = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no record at {path}: the run is not finished, or this is no run folder") from None
    if record.get("format") != RECORD_FORMAT:
        raise ValueError(f"{path} is no run record of format {RECORD_FORMAT}")
    if complaint := _complaint(record):
        raise ValueError(f"{path} is damaged: {complaint}")
    return record


def _complaint(record: Mapping[str, Any]) -> str:
    """What is not as records have it, of what their readers rely on; empty if all is."""
    objects = {key: record.get(key) for key in ("config", "metrics")}
    objects |= {key: record.get(key, {}) for key in ("environment", "revision", "weights_sha256")}
    config = objects["config"] if isinstance(objects["config"], dict) else {}
    objects |= {f"config.{table}": config.get(table) for table in ("data", "model", "method")}
    for name, value in objects.items():
        if not isinstance(value, dict):
            return f"{name} is no object"
    curve = record.get("curve")
    if not isinstance(curve, list) or not curve or not all(isinstance(row, dict) for row in curve):
        return "curve is no list of epochs"
    metrics = {key: record["metrics"].get(key) for key in ("epochs", "seconds")} | record["metrics"]
    rows = [{"epoch": row.get("epoch")} | row for row in curve]
    kept = ("epoch", "train_loss", "error_percent", "cross_entropy")
    numbers = [*metrics.items(), *((key, row[key]) for row in rows for key in kept if key in row)]
    texts = [(f"config.{table}.name", config[table].get("name")) for table in ("data", "model", "method")]
    for kind, values in (((int,), [("seed", record.get("seed"))]), ((int, float), numbers), ((str,), texts)):
        for name, value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                return f"{name} is {value!r:.50}"
    return ""


def read_array(path: Path, *, mapped: bool = False) -> Any:
    """Read a ``.npy`` file, without pickles; ``mapped`` leaves it on the disk.

    Raises:
        ValueError: damaged, or something else.
    """
    try:
        if not path.is_file():
            raise OSError("there is no file")
        return require("numpy").load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except ImportError:
        raise
    except Exception as error:  # a forged header may ask for any memory, or not be Python's at all
        raise ValueError(f"{path} is not a readable array: {error}") from error


def sweep(folder: Path) -> list[str]:
    """Remove what writers that were killed left in ``folder``; return the names of what else lies there."""
    names = os.listdir(folder) if folder.is_dir() else []
    for name in names:
        if _TEMPORARY.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    return [name for name in names if not _TEMPORARY.fullmatch(name)]


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] + " (is the disk full?)"
