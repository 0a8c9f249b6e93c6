"""Where a run computes: device, precision, processes. Plain PyTorch; torchrun starts several processes."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from alignmixup.training.allocator import keep_freed_memory
from alignmixup.training.config import TrainConfig
from alignmixup.training.precision import choose_precision
from alignmixup.training.processes.agreement import Agreement
from alignmixup.training.processes.ranks import ToldElsewhereError

_logger = logging.getLogger(__name__)
_VECTOR = 16  # floats in the widest vector of a CPU
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FAILED = "alignmixup/failed"  # counts processes in the store
_OWN_ERRORS = "alignmixup/own-errors"
_PATIENCE = 20  # seconds that rank 0 keeps the store at most


class Engine:
    """Device, autocast, loss scaling and process group of a run.

    Under ``torchrun`` (or ``accelerate launch``), which set RANK, WORLD_SIZE and LOCAL_RANK, it joins the
    process group: nccl on cuda, gloo otherwise. It holds no optimiser.

    Args:
        train: the options ``device``, ``threads``, ``precision``, ``channels_last``, ``compile``,
            ``clip_norm``.

    Attributes:
        device: where the model and the batches live.
        rank, world_size: this process and their number; 0 and 1 without torchrun.
        agree: what one process wishes, all do.
        precision: that of ``train``, or what ``"auto"`` is here.
    """

    def __init__(self, train: TrainConfig) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = choose_device(train.device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if self.device.type == "cpu":
            keep_freed_memory()
        self._threads_before = torch.get_num_threads()
        self._channels_last = train.channels_last
        self._compile, self._compile_mode = train.compile, train.compile_mode
        self._clip_norm = train.clip_norm
        self._wrapped: nn.Module | None = None
        self._store: dist.Store | None = None
        self._lost = False
        self._random_before: dict[str, Tensor] = {}
        self._joined = False
        try:
            self._start(train)
        except BaseException:
            self.close()
            raise

    def _start(self, train: TrainConfig) -> None:
        """All that the process is changed by, which `close` undoes."""
        torch.set_num_threads(usable_threads("train.threads", train.threads) or self._threads_before)
        if self.world_size > 1 and not dist.is_initialized():
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            self._store, rank, processes = next(dist.rendezvous("env://"))
            dist.init_process_group(backend, store=self._store, rank=rank, world_size=processes)
            self._joined = True
        self._random_before = self.random_state()
        self.agree = Agreement(several=self.world_size > 1)
        # all compute as rank 0 does, whatever another one would have measured
        self.precision = self.gather(choose_precision(train.precision, self.device, speak=self.is_main))[0]
        self._dtype = _DTYPES[self.precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the terminal."""
        return self.rank == 0

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device in the memory layout of the run.

        Raises:
            ValueError: on a CPU, a network whose channels-last gradients oneDNN computes out of bounds.
        """
        if self._channels_last and self.device.type == "cpu" and (name := _out_of_bounds(model)):
            raise ValueError(
                f"train.channels_last = true: {name} is a strided 1x1 convolution of fewer than {_VECTOR} channels, "
                "whose gradient oneDNN writes out of bounds in this layout; set train.channels_last = false"
            )
        layout = torch.channels_last if self._channels_last else torch.preserve_format
        return model.to(self.device, memory_format=layout)  # type: ignore[call-overload, no-any-return]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in training: data-parallel and compiled as asked for.

        The mixer must exist already: a hook registered after the first trace of a compiled model never runs.
        """
        self._wrapped = model
        if self.world_size > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            self._wrapped = model = DistributedDataParallel(model, device_ids=ids)
        return torch.compile(model, mode=self._compile_mode) if self._compile else model  # type: ignore[return-value]

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the forward pass and the loss are computed."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)

    def gradients(self, *, reduced: bool) -> AbstractContextManager[Any]:
        """Context of forward and backward; processes average gradients in the last of an accumulation."""
        if reduced or not isinstance(self._wrapped, DistributedDataParallel):
            return nullcontext()
        return self._wrapped.no_sync()

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, scaled where the precision needs it."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self, optimizer: Optimizer, *, extra_parameters: Sequence[nn.Parameter] = ()) -> None:
        """Clip, step, forget the gradients.

        ``extra_parameters`` are trained ones outside the wrapped model, whose gradients nobody else averages. Without a
        gradient, in a batch that did not use them, theirs is zero, so that processes agree on what is averaged, and any
        number of processes on what the optimiser does.
        """
        for parameter in extra_parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world_size > 1 and extra_parameters:
            self._average([parameter.grad for parameter in extra_parameters if parameter.grad is not None])
        if self._clip_norm > 0:
            self.scaler.unscale_(optimizer)
            clipped = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(clipped, self._clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)

    def _average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one message."""
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
    def in_company(self, *, agreed: type[Exception]) -> Iterator[None]:
        """Context in which a process that is gone is told of, once, by one of those that miss it.

        Args:
            agreed: what all processes leave by together, which none will miss.

        Raises:
            ConnectionError: another process is gone without a word.
            ToldElsewhereError: another process is gone and has told why, or a third one tells of it.
        """
        try:
            yield
        except (ToldElsewhereError, agreed):
            raise
        except BaseException as error:
            if self.world_size == 1:
                raise
            self._lost = _is_lost_peer(error)
            first = self._speaks_first()
            if not self._lost:
                raise
            if not first:
                raise ToldElsewhereError from error
            raise ConnectionError(
                "another process of this run is gone (killed? out of memory?); the last checkpoint is as it was"
            ) from error

    def _speaks_first(self) -> bool:
        """Whether this is the first process that fails; a store that is gone went with rank 0, and rank 1 speaks.

        So it speaks too where rank 0, which keeps the store, had an error of its own: nobody can tell that from a kill.
        """
        if self._store is None:
            return True
        kept_by_rank_0 = "TORCHELASTIC_USE_AGENT_STORE" not in os.environ  # and not by torchrun
        if kept_by_rank_0 and not self.is_main:
            time.sleep(0.3)  # what belongs to a process that ends is closed one after the other
            try:
                address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
                socket.create_connection(address, timeout=10).close()
            except OSError:
                return self.rank == 1
        if not self._lost:
            self._store.add(_OWN_ERRORS, 1)
        first = self._store.add(_FAILED, 1) == 1
        if kept_by_rank_0 and self.is_main and self._lost:
            # the others miss the same process, and ask as soon as they notice
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                silent = 0 if self._store.add(_OWN_ERRORS, 0) else 1  # one that was killed does not ask
                if self._store.add(_FAILED, 0) >= self.world_size - silent:
                    break
                time.sleep(0.05)
        return first

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the buffers of rank 0, so that all evaluate the network that rank 0 saves."""
        self.share(buffer for module in modules for buffer in module.buffers())

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

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    def random_state(self) -> dict[str, Tensor]:
        """State of torch's global generators, which dropout and stochastic depth draw from."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            state[self.device.type] = getattr(torch, self.device.type).get_rng_state()
        return state

    def restore_random_state(self, state: dict[str, Tensor]) -> None:
        """Continue from `random_state`; a generator of a device that is not in use here is left out."""
        torch.set_rng_state(state["cpu"])
        if self.device.type in state and self.device.type != "cpu":
            getattr(torch, self.device.type).set_rng_state(state[self.device.type])

    def close(self) -> None:
        """Leave the process group if this engine joined it; restore the number of threads and the random streams."""
        torch.set_num_threads(self._threads_before)
        if self._random_before:
            self.restore_random_state(self._random_before)
        # what a lost process left under way on a GPU never ends, and taking the group down would wait for it
        if self._joined and not (self._lost and self.device.type == "cuda"):
            dist.destroy_process_group()


def _is_lost_peer(error: BaseException) -> bool:
    """Whether a collective failed because another process does not answer; gloo has no error type of its own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))


def usable_threads(name: str, wanted: int) -> int:
    """So many threads, or as many as this process has cores: more wait for each other and take a thousand times longer.

    ``name`` is what the warning calls the option; 0 stays 0.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted > cores:
        _logger.warning("%s = %d, and this process has %d cores: it takes %d threads", name, wanted, cores, cores)
    return min(wanted, cores)


def choose_device(name: str, *, local_rank: int = 0) -> torch.device:
    """The device called ``name``; ``auto`` takes cuda, then mps, then cpu."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    if not present[name]:
        found = ", ".join(kind for kind, there in present.items() if there)
        raise ValueError(f'train.device = "{name}" is not available on this machine; found: {found}')
    if name == "cuda":
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise ValueError(f"process {local_rank} has no GPU of its own: this machine has {count}")
        return torch.device("cuda", local_rank)
    return torch.device(name)


def _out_of_bounds(model: nn.Module) -> str | None:
    """The first convolution that `models.preact_resnet.StridedPointwise` tells of; its own are safe."""
    for name, module in model.named_modules():
        if type(module) is not nn.Conv2d or module.kernel_size != (1, 1) or max(module.stride) == 1:
            continue
        if module.in_channels // module.groups < _VECTOR:
            return str(name)
    return None
