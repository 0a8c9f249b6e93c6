"""Files that are whole or not there, and of one process at a time. Imports no torch.

A file is written beside its place, as ``.NAME.HOST.PID.tmp``, then renamed onto it.
"""

import errno
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from alignmixup.outside import require

__all__ = [
    "check_is_file",
    "clear_leftovers",
    "locked",
    "read_array",
    "sweep",
    "temporary_name",
    "write_atomically",
    "write_json",
    "write_text",
]

_log = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"\.probe|\..+\.\d+\.tmp")
_LOCK = re.compile(r"\.(.+\.)?lock")
_WAY_OUT = "make room, or choose another --out"
_PATIENCE = 8.0  # seconds in which the loader workers of a killed process notice that it is gone


def temporary_name(path: Path) -> Path:
    """Where ``path`` is written before it is renamed."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.tmp")


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside ``path``, flush it to the disk, then rename it onto ``path``.

    Raises:
        OSError: with the path and what happened; ``path`` keeps its old content and no part of the new is
            left.
    """
    temporary = temporary_name(path)
    _clear_once(path.parent)
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
            raise OSError(f"cannot write {path}: {_reason(error)}{kept}; {_WAY_OUT}") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text atomically, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; a number that is not finite is refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def check_is_file(path: Path) -> None:
    """Refuse what is there and no file, such as a folder or a pipe, at which a reader would wait for ever.

    Raises:
        ValueError: it is none.
    """
    if os.path.lexists(path) and not path.is_file():
        raise ValueError(f"{path} is no file")


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
    """Remove what writers that were killed left in ``folder``, which is locked; return the names of what else is in it.

    Locks are neither: whoever takes one next removes it.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    for name in names:
        if _TEMPORARY.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    return [name for name in names if not _TEMPORARY.fullmatch(name) and not _LOCK.fullmatch(name)]


def clear_leftovers(folder: Path) -> None:
    """Remove what writers of this machine that are dead left in ``folder``, where others may be writing."""
    own = re.compile(rf"\..+\.{re.escape(_host())}\.(\d+)\.tmp")
    for name in os.listdir(folder) if folder.is_dir() else []:
        if (found := own.fullmatch(name)) and not _lives(int(found[1])):
            (folder / name).unlink(missing_ok=True)


@cache
def _clear_once(folder: Path) -> None:
    clear_leftovers(folder)


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Context in which no other process has any of ``paths``: folders that are there, or files that will be written.

    The lock is the system's, on the file ``.lock`` in a folder or ``.NAME.lock`` beside a file, which names who has it.
    It ends with its process, however that ends: a file that is left blocks nobody. Network file systems share it among
    machines. Where a file system has no locks, that another may be at work is a warning.

    Raises:
        OSError: another process has one of them, or the lock's file cannot be written.
    """
    with ExitStack() as stack:
        for path in sorted({Path(os.path.realpath(path)) for path in paths}):
            clear_leftovers(path if path.is_dir() else path.parent)
            stack.enter_context(_locked(path))
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    place = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    made = not place.parent.exists()
    handle = _acquire(place, path)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)  # as long as it is ours
        os.close(handle)
        if made:
            with suppress(OSError):  # unless something is in it now
                place.parent.rmdir()


def _acquire(place: Path, path: Path) -> int:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(f"cannot write {place}: {error.strerror}; {_WAY_OUT}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 999).decode(errors="replace") or "another process"
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                if holder != "another process":
                    _log.warning("%s may be at work in %s too: this file system has no locks", holder, path)
                return handle
            os.close(handle)
            if time.monotonic() > deadline:
                raise OSError(f"{holder} works in {path}: let it end") from None
            time.sleep(0.1)
            continue
        if _is_at(handle, place):
            break
        os.close(handle)  # whoever had it has removed it meanwhile
    with suppress(OSError):  # a full disk: it locks without a name, too
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {_host()}".encode())
    return handle


def _is_at(handle: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(place))
    except FileNotFoundError:
        return False


def _lives(process: int) -> bool:
    if fcntl is None:  # Windows, where asking like this would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _host() -> str:
    return socket.gethostname().replace("/", "_") or "localhost"


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] + " (is the disk full?)"
