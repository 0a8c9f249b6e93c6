"""Memory that is kept."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from alignmixup.training.allocator import keep_freed_memory
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(20)))  # the heap settles after a few
assert keep_freed_memory()
print(min(faults() for _ in range(20)))
"""


def test_elsewhere_nothing_happens(monkeypatch):
    from alignmixup.training.allocator import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the switch, elsewhere nothing is kept")
def test_memory_that_is_freed_comes_back_without_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < 10 < given_back
