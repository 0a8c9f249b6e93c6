"""How many threads a CPU's operations take."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def one_thread(like: Tensor) -> Iterator[None]:
    """Keep a CPU's operations in one thread: small ones cost more to hand round than to do.

    The number of threads is the process's; it is put back at the end. Nothing changes where ``like``, and so the work,
    is on another device, and under ``torch.compile``.
    """
    threads = torch.get_num_threads()
    if like.device.type != "cpu" or threads == 1 or torch.compiler.is_compiling():
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
