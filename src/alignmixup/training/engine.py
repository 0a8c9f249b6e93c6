"""Where and how a run computes: device, precision, layout, compiled or not. Plain PyTorch."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from alignmixup.training.allocator import keep_freed_memory
from alignmixup.training.config import TrainConfig
from alignmixup.training.precision import choose_precision
from alignmixup.training.processes.group import ProcessGroup

_log = logging.getLogger(__name__)
_VECTOR = 16  # floats in the widest vector of a CPU
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """Device, autocast, loss scaling and processes of a run. It holds no optimiser.

    Args:
        train: the options ``device``, ``threads``, ``precision``, ``channels_last``, ``compile``,
            ``clip_norm``.

    Attributes:
        device: where the model and the batches live.
        group: the processes that train together.
        precision: that of ``train``, or what ``"auto"`` is here.
    """

    def __init__(self, train: TrainConfig) -> None:
        self.device = choose_device(train.device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if self.device.type == "cpu":
            keep_freed_memory()
        self._threads_before = torch.get_num_threads()
        self._channels_last = train.channels_last
        self._compile, self._compile_mode = train.compile, train.compile_mode
        self._clip_norm = train.clip_norm
        self._wrapped: nn.Module | None = None
        self._group: ProcessGroup | None = None
        self._random_before: dict[str, Tensor] = {}
        try:
            self._start(train)
        except BaseException:
            self.close()
            raise

    def _start(self, train: TrainConfig) -> None:
        """All that the process is changed by, which `close` undoes."""
        torch.set_num_threads(usable_threads("train.threads", train.threads) or self._threads_before)
        self.group = self._group = ProcessGroup(self.device)
        self._random_before = self.random_state()
        with self.group.in_company():
            # all compute as rank 0 does, whatever another one would have measured
            own = choose_precision(train.precision, self.device, speak=self.group.is_main)
            self.precision = self.group.gather(own)[0]
        self._dtype = _DTYPES[self.precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

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
        if self.group.world_size > 1:
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
        self.group.average(parameter.grad for parameter in extra_parameters if parameter.grad is not None)
        if self._clip_norm > 0:
            self.scaler.unscale_(optimizer)
            clipped = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(clipped, self._clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)

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
        if self._group is not None:
            self._group.close()


def usable_threads(name: str, wanted: int) -> int:
    """So many threads, or as many as this process has cores: more wait for each other and take a thousand times longer.

    ``name`` is what the warning calls the option; 0 stays 0.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted > cores:
        _log.warning("%s = %d, and this process has %d cores: it takes %d threads", name, wanted, cores, cores)
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
