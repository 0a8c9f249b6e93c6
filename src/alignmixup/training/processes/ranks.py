"""Which process of a run speaks. Imports no torch."""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Error = TypeVar("_Error", bound=BaseException)

_OWN = "_alignmixup_rank"
_REMEDY = " (out of memory, or of shared memory?): lower data.workers, or give the machine more of it"
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
        yield
    except Exception as error:
        _own(error)
        raise


def words_dead_workers(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let a function say in one sentence that a loader worker was killed: an error of the machine, and its own.

    PyTorch notices in a signal handler, and so anywhere in the main thread; and before, where it fetches what the
    worker had ready. No context manager, since the handler may speak in the code that leads an error into one: nothing
    runs between an error that comes out of ``function`` and the ``try`` around it.

    Returns:
        The function, which raises `ChildProcessError` where a worker of a loader was killed.
    """

    @functools.wraps(function)
    def worded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            try:
                return function(*args, **kwargs)
            except (OSError, EOFError) as error:
                if not any(frame.filename.endswith(_FETCHING) for frame in traceback.extract_tb(error.__traceback__)):
                    raise
                time.sleep(2)  # the signal is under way, and would come where nobody expects it
                raise _own(ChildProcessError(f"a loader worker was killed{_REMEDY}")) from error
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            sentence = str(error).splitlines()[0].strip().rstrip(".")
            raise _own(ChildProcessError(f"{sentence}{_REMEDY}")) from error

    return worded


def _own(error: _Error) -> _Error:
    setattr(error, _OWN, os.environ.get("RANK", "0"))
    return error


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
