"""Which process says an error, and how."""

import gc
import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from alignmixup.training.processes.ranks import ToldElsewhereError, own_errors, same_launcher, speaker


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
    for _ in range(5):
        try:
            with (
                pytest.raises(ChildProcessError, match=r"^[^\n]* worker [^\n]*: lower data.workers[^\n]*$"),
                own_errors(),
            ):
                list(DataLoader(Killed(), num_workers=1))
            break
        except RuntimeError as error:  # torch's signal handler spoke once more, while the first error was handled
            assert "is killed by signal" in str(error)  # noqa: PT017
    else:
        pytest.fail("never in one sentence")
    gc.collect()  # such a file is noticed here, and not in another test


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
