"""Which process of a run speaks. Imports no torch."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_OWN = "_alignmixup_rank"
_FETCHING = os.path.join("torch", "multiprocessing", "reductions.py")


class ToldElsewhereError(Exception):
    """The run ends because of an error that another process has, and tells."""


def is_main_process() -> bool:
    """Whether this process writes files and talks: the only one, or rank 0 under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def same_launcher() -> str:
    """How a command begins that is started as this one was, as far as torchrun tells."""
    here, everywhere = os.environ.get("LOCAL_WORLD_SIZE", "1"), os.environ.get("WORLD_SIZE", "1")
    if everywhere == "1" or "TORCHELASTIC_RUN_ID" not in os.environ:
        return "alignmixup"
    return f"torchrun {f'--nproc-per-node {here}' if here == everywhere else '...'} -m alignmixup"


@contextmanager
def own_errors() -> Iterator[None]:
    """Context whose errors are this process's own: no other is known to have them."""
    try:
        with dead_workers():
            yield
    except Exception as error:
        setattr(error, _OWN, os.environ.get("RANK", "0"))
        raise


@contextmanager
def dead_workers() -> Iterator[None]:
    """Context in which a killed loader worker is an error of the machine, said in one sentence.

    PyTorch notices in a signal handler, and so anywhere in the main thread, or where it fetches what the worker had
    ready.

    Raises:
        ChildProcessError: a worker of a loader was killed.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if str(error).startswith("DataLoader worker (pid"):
            said = str(error).splitlines()[0].strip().rstrip(".")
        elif any(frame.filename.endswith(_FETCHING) for frame in traceback.extract_tb(error.__traceback__)):
            said = "a loader worker was killed"
        else:
            raise
        raise ChildProcessError(
            f"{said} (out of memory, or of shared memory?): lower data.workers, or give the machine more of it"
        ) from error


def speaker(error: BaseException) -> str | None:
    """How a message about an error begins: empty, or ``rank N: `` of several; None where another process tells it.

    An error from before the processes part is the same in all that share a machine, and the first of them tells it.
    """
    if isinstance(error, ToldElsewhereError):
        return None
    rank = getattr(error, _OWN, None)
    if rank is None:
        return "" if os.environ.get("LOCAL_RANK", "0") == "0" else None
    return f"rank {rank}: " if os.environ.get("WORLD_SIZE", "1") != "1" else ""
