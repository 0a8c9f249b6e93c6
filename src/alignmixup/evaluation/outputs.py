"""What a classifier says about a data set: computed once, shared by every measure that needs no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Progress = Callable[[int], None]
"""Called with the number of images done since the last call."""


def no_progress(images: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Outputs:
    """Logits of N images and their labels, on the CPU.

    Attributes:
        logits: (N, K) float32.
        labels: (N,) int64.
    """

    logits: Tensor
    labels: Tensor


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Context in which ``model`` is in evaluation mode; each module's own flag is restored."""
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter; the CPU for a model that has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def collect_outputs(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: Progress = no_progress,
) -> Outputs:
    """Logits of ``model`` in evaluation mode for all batches, in their order; its training flags are restored.

    Args:
        model: gives logits (B, K) for a batch of images.
        loader: (images, labels) on the model's device.
        autocast: makes the context of each forward pass.
        progress: hears of the images done.

    Raises:
        ValueError: the loader yields nothing, or the model gives something else than (B, K) logits.
    """
    logits, labels = [], []
    with evaluation_mode(model):
        for x, y in loader:
            with autocast():
                output = model(x)
            if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(x):
                shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(f"the model must give logits (B, K) for {len(x)} images, got {shape}")
            logits.append(output.float())  # stays on the device: reading each batch would stall a GPU's queue
            labels.append(y)
            progress(len(x))
    if not logits:
        raise ValueError("nothing to evaluate: the loader yields no batch")
    return Outputs(torch.cat(logits).cpu(), torch.cat(labels).cpu())
