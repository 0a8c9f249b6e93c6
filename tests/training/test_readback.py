"""Numbers that come later."""

import pytest
import torch

from alignmixup.training.progress.readback import Readback


def test_the_cpu_answers_at_once():
    readback = Readback(torch.device("cpu"))
    assert readback.exchange(torch.tensor(1.5)) == 1.5
    assert readback.exchange(torch.tensor(2.5)) == 2.5


class LateEvent:
    """Stands for a CUDA event: done when told so."""

    def __init__(self) -> None:
        self.done = False

    def query(self) -> bool:
        return self.done

    def record(self) -> None:
        self.done = False


def test_a_device_answers_with_the_number_before_and_never_waits():
    readback = Readback(torch.device("cpu"))
    readback._event = event = LateEvent()
    assert readback.exchange(torch.tensor(1.0)) is None  # nothing was handed in before
    assert readback.exchange(torch.tensor(2.0)) is None  # 1 is still on its way; 2 is not looked at
    event.done = True
    assert readback.exchange(torch.tensor(3.0)) == 1.0
    event.done = True
    assert readback.exchange(torch.tensor(4.0)) == 3.0


@pytest.mark.gpu
def test_nothing_waits_on_a_gpu():
    readback = Readback(torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = [readback.exchange(torch.full((), float(i), device="cuda")) for i in range(2000)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    arrived = [value for value in values if value is not None]
    assert arrived == sorted(arrived)
    assert arrived
