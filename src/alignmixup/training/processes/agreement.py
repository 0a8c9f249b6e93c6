"""What one process asks for, all do at the same step."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Agreement:
    """Grants the wishes of any process to all of them at the same call, without one waiting for another.

    A call begins an exchange between the CPUs and answers with what the call before began. So a process waits only for
    one that is more than a call behind, and never for a device; a wish is granted one call later. A single process
    grants its own at once. All processes call equally often.

    Args:
        several: there is a process group to agree with.

    Attributes:
        group: of its own, between the CPUs; None of a single process.
    """

    def __init__(self, *, several: bool) -> None:
        self.group: Any = dist.new_group(backend="gloo") if several else None
        self._begun: tuple[Tensor, Any] | None = None

    def __call__(self, *wishes: bool, at_once: bool = False) -> tuple[bool, ...]:
        """Say what this process wishes; hear what all do now.

        Args:
            wishes: yes or no to each of some questions, the same ones in every call.
            at_once: wait for the others, so that nothing remains under way.
        """
        if self.group is None:
            return wishes
        before, self._begun = self._begun, self._begin(wishes)
        granted = [False] * len(wishes) if before is None else _end(*before)
        if at_once or any(granted):
            # the exchange that just began often repeats the wishes that are granted here
            granted = [old or new for old, new in zip(granted, _end(*self._begun), strict=True)]
            self._begun = None
        return tuple(granted)

    def _begin(self, wishes: tuple[bool, ...]) -> tuple[Tensor, Any]:
        flags = torch.tensor(wishes, dtype=torch.int32)
        return flags, dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self.group, async_op=True)


def _end(flags: Tensor, work: Any) -> list[bool]:
    work.wait()
    return [bool(flag) for flag in flags.tolist()]
