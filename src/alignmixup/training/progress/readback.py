"""Read numbers from a device without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


class Readback:
    """Shows the host a scalar of the device a little later, so that nothing waits.

    A GPU works on steps that the host has queued long before; reading a value the usual way would let the queue run
    empty. On the CPU there is no queue and the value comes at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._host = torch.zeros((), pin_memory=self._event is not None)
        self._pending = False

    def exchange(self, value: Tensor) -> float | None:
        """Hand in a scalar; get it, or on CUDA the one handed in before, once it has arrived.

        Returns:
            The latest number that has arrived; None before the first.
        """
        if self._event is None:
            return float(value)
        if self._pending and not self._event.query():  # type: ignore[no-untyped-call]
            return None
        arrived = float(self._host) if self._pending else None
        self._host.copy_(value, non_blocking=True)
        self._event.record()
        self._pending = True
        return arrived
