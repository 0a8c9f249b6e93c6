import pytest
import torch

from alignmixup.functional.threads import one_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_inside_and_as_before_afterwards(two_threads):
    with one_thread(torch.zeros(1)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), one_thread(torch.zeros(1)):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_other_devices_keep_theirs(two_threads):
    with one_thread(torch.zeros(1, device="meta")):
        assert torch.get_num_threads() == 2
