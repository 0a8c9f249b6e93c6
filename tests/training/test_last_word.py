"""What rank 1 can still hear of rank 0 that is gone."""

import errno
import socket
import threading
from typing import Any

import pytest
import torch.distributed as dist

from alignmixup.training.processes import last_word
from alignmixup.training.processes.last_word import LastWord


def connect(monkeypatch: pytest.MonkeyPatch) -> tuple[LastWord, LastWord]:
    """The ends of rank 0 and rank 1."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    store, ends = dist.HashStore(), {}
    first = threading.Thread(target=lambda: ends.update({0: LastWord(store, 0)}))
    first.start()
    ends[1] = LastWord(store, 1)
    first.join()
    return ends[0], ends[1]


@pytest.mark.parametrize("said", [True, False])
def test_what_was_said_is_heard_though_the_speaker_is_gone(monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    speaker, listener = connect(monkeypatch)
    if said:
        speaker.say()
    speaker.close()
    assert listener.is_heard() == said
    listener.close()


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
    unheard = LastWord(store, 0)  # nobody comes; its port is closed again
    listener, third = LastWord(store, 1), LastWord(store, 2)
    for end in (unheard, listener, third):
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
