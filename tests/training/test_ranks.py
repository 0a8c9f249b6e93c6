"""Which process says an error, and how."""

import gc
import itertools
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from alignmixup.training.processes import ranks
from alignmixup.training.processes.ranks import (
    ToldElsewhereError,
    own_errors,
    same_launcher,
    speaker,
    words_dead_workers,
)


@pytest.mark.parametrize(
    ("rank", "processes", "own", "expected"),
    [("0", "1", True, ""), ("1", "2", True, "rank 1: "), ("0", "2", False, ""), ("1", "2", False, None)],
)
def test_an_error_is_told_by_the_process_that_has_it(
    monkeypatch: pytest.MonkeyPatch, rank: str, processes: str, own: bool, expected: str | None
) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", processes)):
        monkeypatch.setenv(name, value)
    error = ValueError("no")
    if own:
        with pytest.raises(ValueError, match="no"), own_errors():
            raise error
    assert speaker(error) == expected
    assert speaker(ToldElsewhereError()) is None


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none"}


class Killed(Dataset[int]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


# torch counts free descriptors by opening files, and its SIGCHLD handler may raise between opening and closing one, or
# while a file that nobody holds is closed, where Python can only tell of it
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in.*_TemporaryFileCloser:pytest.PytestUnraisableExceptionWarning")
def test_a_killed_loader_worker_is_an_error_of_the_machine_in_one_sentence() -> None:
    with pytest.raises(ChildProcessError, match=r"^[^\n]* worker [^\n]*: lower data.workers[^\n]*$") as told:
        words_dead_workers(list)(DataLoader(Killed(), num_workers=1))
    assert speaker(told.value) == ""
    gc.collect()  # such a file is noticed here, and not in another test


def test_the_signal_handler_may_speak_anywhere_behind_an_earlier_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch() -> None:
        exec(compile("raise EOFError", os.path.join("torch", "multiprocessing", "reductions.py"), "exec"))

    def speak_before(instruction: int) -> Callable[..., Any]:
        met = itertools.count()

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_name == "worded":
                frame.f_trace_opcodes = True
                if "behind" in signs and next(met) == instruction:
                    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
            if event == "exception" and frame.f_code is fetch.__code__:
                signs.append("behind")
            if frame.f_code is wait.__code__:
                signs.clear()
            return trace

        return trace

    def wait(seconds: float) -> None:
        """The handler has spoken when this returns."""

    signs: list[str] = []
    monkeypatch.setattr(ranks.time, "sleep", wait)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = []
    while not told or "killed by signal" in told[-1]:
        signs.clear()
        before = sys.gettrace()
        sys.settrace(speak_before(len(told)))
        try:
            with pytest.raises(ChildProcessError, match=r"lower data\.workers") as raised:
                words_dead_workers(fetch)()
        finally:
            sys.settrace(before)
        assert speaker(raised.value) == "rank 1: "
        told.append(str(raised.value))
    assert len(told) > 3
    assert told[-1].startswith("a loader worker was killed")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({}, "alignmixup"),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "alignmixup"),
        ({**TORCHRUN, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "torchrun --nproc-per-node 2 -m alignmixup"),
        ({**TORCHRUN, "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "torchrun ... -m alignmixup"),
    ],
)
def test_a_run_goes_on_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, places: dict[str, str], expected: str
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", *TORCHRUN):
        monkeypatch.delenv(name, raising=False)
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    assert same_launcher() == expected
