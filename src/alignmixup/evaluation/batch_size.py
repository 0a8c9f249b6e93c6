"""A batch size that fits the memory, found by trying."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_PIXELS = {"cpu": 256 * 32 * 32, "cuda": 2048 * 32 * 32}  # of a batch, at first
_SMALLEST, _LARGEST = 16, 2048


def first_batch_size(device: torch.device, *, image_size: int) -> int:
    """Where to begin with images of this side: what keeps the device busy, a power of two between 16 and 2048."""
    fitting = _PIXELS.get(device.type, _PIXELS["cpu"]) // image_size**2
    return min(max(1 << max(fitting, 1).bit_length() - 1, _SMALLEST), _LARGEST)


def with_fitting_batch_size(work: Callable[[int], Result], *, start: int) -> tuple[Result, int]:
    """Do ``work`` with ``start`` images a batch, and with half as many each time the device's memory runs out.

    Returns:
        What ``work``, which does everything anew, returned, and the batch size that fitted.

    Raises:
        ValueError: ``start`` below 1.
        torch.OutOfMemoryError: one image does not fit either.
    """
    if start < 1:
        raise ValueError(f"the batch size must be >= 1, got {start}")
    size = start
    while True:
        try:
            return work(size), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        size //= 2  # outside the handler, which would keep the failed batch's tensors alive
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _log.info("the device's memory is too small for %d images at once: trying %d", size * 2, size)
