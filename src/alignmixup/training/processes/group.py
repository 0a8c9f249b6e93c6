"""The processes that train together: who they are, what they give each other, which of them tells of a failure."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alignmixup.training.processes.agreement import Agreement
from alignmixup.training.processes.last_word import LastWord
from alignmixup.training.processes.ranks import ToldElsewhereError

_FAILED = "alignmixup/failed"  # counts processes in the store


class ProcessGroup:
    """The processes of a run. With one process every method is what it would be there, and costs nothing.

    Under ``torchrun``, ``accelerate launch`` or a cluster's starter, which set RANK, WORLD_SIZE and LOCAL_RANK, it
    joins the others: by nccl on cuda, by gloo otherwise.

    Args:
        device: where this process computes.

    Attributes:
        rank, world_size: this process and their number; 0 and 1 of a single one.
        agree: what one process wishes, all do.
    """

    def __init__(self, device: torch.device) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self._on_gpu = device.type == "cuda"
        self._joined = False
        self._store: dist.Store | None = None
        self._last_word: LastWord | None = None
        self.agree = Agreement(several=False)  # until there are others
        self._lost = self._failed = False
        if self.world_size > 1 and not dist.is_initialized():
            if self._on_gpu:
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if self._on_gpu else "gloo")
            self._joined = True
        try:
            with self.in_company():
                if self.world_size > 1:
                    self._store = dist.distributed_c10d._get_default_store()
                    if not _is_kept_elsewhere():
                        self._last_word = LastWord(self._store, self.rank, self.world_size)
                self.agree = Agreement(several=self.world_size > 1)
        except BaseException:
            self.close()
            raise

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the terminal."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one message."""
        tensors = list(tensors)
        if self.world_size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.world_size
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values of rank 0."""
        if self.world_size > 1:
            for tensor in tensors:
                value = tensor.detach().contiguous()  # channels-last weights cannot be sent as they lie
                dist.broadcast(value, src=0)
                tensor.detach().copy_(value)

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the buffers of rank 0, so that all evaluate the network that rank 0 saves."""
        self.share(buffer for module in modules for buffer in module.buffers())

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes; the tensor itself with one process."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """One picklable object per process, in the order of their ranks, on every process."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Context that rank 0 passes before the others, so that one process downloads and fills caches."""
        if not self.is_main:
            self.wait()
        try:
            yield
        finally:
            if self.is_main:
                self.wait()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context that all processes leave together, without messages between them inside: an error of one ends all.

        Raises:
            ToldElsewhereError: another process has an error, or a lower one the same error.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        texts = self.gather(own and f"{type(own).__name__}: {own}")
        if own is not None and texts.index(f"{type(own).__name__}: {own}") == self.rank:
            raise own
        if any(texts):
            raise ToldElsewhereError

    @contextmanager
    def in_company(self, *, agreed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Context in which it is told once why processes end: by one with an error, or by one that misses another.

        Args:
            agreed: errors by which all processes leave together, and none will be missed.

        Raises:
            ConnectionError: another process is gone without a word.
            ToldElsewhereError: another process is gone and has told why, or a third one tells of it.
        """
        try:
            yield
        except BaseException as error:
            if self.world_size == 1 or isinstance(error, (ToldElsewhereError, *agreed)):
                raise
            self._failed = True
            is_told = self._is_told()
            if self._last_word is not None:
                self._last_word.say()
            self._lost = _is_lost_peer(error)
            if not self._lost:
                raise
            if is_told:
                raise ToldElsewhereError from error
            raise ConnectionError(
                "another process of this run is gone (killed? out of memory?); the last checkpoint is as it was"
            ) from error

    def _is_told(self) -> bool:
        """Whether a process that failed before this one tells why.

        Processes count themselves in the store. A store that is gone went with rank 0: then each asks the one before.
        """
        if self._store is not None and (self._last_word is None or self.is_main or _still_serves()):
            with contextlib.suppress(dist.DistError):  # it may go in this moment
                return self._store.add(_FAILED, 1) > 1
        return self._last_word is not None and self._last_word.is_heard()

    def close(self) -> None:
        """Leave the others."""
        if self._last_word is not None:
            self._last_word.close()
        if self._joined and self._failed:
            _keep_for_good(dist.group.WORLD, self.agree.group)
        # what a lost process left under way on a GPU never ends, and taking the group down would wait for it
        if self._joined and not (self._lost and self._on_gpu):
            dist.destroy_process_group()


def _keep_for_good(*groups: Any) -> None:
    """Let groups live until the process ends: taking them down waits for what others left under way, which may be gone.

    Two that wait for each other in that never end, where a third was killed.
    """
    for group in groups:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))


def _is_kept_elsewhere() -> bool:
    """Whether torchrun itself keeps the store; else rank 0 does, and takes it along when it ends."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _still_serves() -> bool:
    """Whether rank 0 still keeps the store."""
    if "MASTER_ADDR" not in os.environ:  # a store that the caller made
        return True
    time.sleep(0.3)  # what belongs to a process that ends is closed one after the other
    try:
        socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), timeout=10).close()
    except OSError:
        return False
    return True


def _is_lost_peer(error: BaseException) -> bool:
    """Whether a collective failed because another process does not answer; gloo has no error type of its own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))
