"""What rank 1 can still hear of rank 0 that is gone."""

import errno
import socket
import threading
from typing import Any

import pytest
import torch.distributed as dist

from alignmixup.training.processes import last_word
from alignmixup.training.processes.last_word import LastWord


def connect(monkeypatch: pytest.MonkeyPatch, world_size: int = 2) -> list[LastWord]:
    """The processes of a run."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    store, made = dist.HashStore(), {}
    threads = [
        threading.Thread(target=lambda rank=rank: made.update({rank: LastWord(store, rank, world_size)}))  # type: ignore[misc]
        for rank in range(world_size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [made[rank] for rank in range(world_size)]


@pytest.mark.parametrize("said", [True, False])
def test_what_was_said_is_heard_though_the_speaker_is_gone(monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    speaker, listener = connect(monkeypatch)
    if said:
        speaker.say()
    speaker.close()
    assert listener.is_heard() == said
    listener.close()


@pytest.mark.parametrize("killed", [{0}, {0, 1}, {1}, {0, 2}, {2, 3}, {0, 1, 2}])
def test_of_those_that_live_behind_one_that_was_killed_one_hears_nothing(
    monkeypatch: pytest.MonkeyPatch, killed: set[int]
) -> None:
    """Who hears nothing tells; where several were killed apart, one behind each."""
    processes = connect(monkeypatch, 4)
    tells = []
    for rank, process in enumerate(processes):
        if rank not in killed:
            if not process.is_heard():
                tells.append(rank)
            process.say()
        process.close()
    assert tells == [rank for rank in range(4) if rank not in killed and (rank == 0 or rank - 1 in killed)]


def test_one_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_word, "_PATIENCE", 0.2)
    speaker, listener = connect(monkeypatch)
    assert not listener.is_heard()
    speaker.close()
    listener.close()


def test_nothing_is_heard_where_no_connection_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_word, "_PATIENCE", 0.2)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    store = dist.HashStore()
    unheard = LastWord(store, 0, 2)  # nobody comes; its port is closed again
    listener = LastWord(store, 1, 2)
    for end in (unheard, listener):
        end.say()
        assert not end.is_heard()
        end.close()


@pytest.mark.parametrize("families", ["without IPv6", "none"])
def test_a_machine_without_a_kind_of_address_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, families: str
) -> None:
    create = socket.create_server

    def refuse(address: tuple[str, int], **options: Any) -> socket.socket:
        if options or families == "none":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create(address)

    monkeypatch.setattr(socket, "create_server", refuse)
    speaker, listener = connect(monkeypatch)
    speaker.say()
    speaker.close()
    assert listener.is_heard() == (families == "without IPv6")
    listener.close()


def test_one_who_will_not_hear_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, listener = connect(monkeypatch)
    listener.close()
    for _ in range(3):
        speaker.say()
    speaker.close()
