"""How this process gets its memory."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed instead of giving it back to the system.

    A training step on the CPU frees and asks for the same activations again and again. Given back, each page costs a
    fault and a clearing when it returns: a tenth and more of the time of a narrow network. The process then holds
    its peak memory until it ends. Other C libraries are left as they are.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
