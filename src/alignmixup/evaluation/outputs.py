"""What a classifier says about a data set: computed once, shared by every measure that needs no more."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.modules import evaluation_mode

Progress = Callable[[int], None]
"""Called with the number of images done since the last call."""


def no_progress(images: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Outputs:
    """Logits (N, K) float32 of N images and their labels (N,) int64, on the CPU."""

    logits: Tensor
    labels: Tensor


@torch.no_grad()
def collect_outputs(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: Progress = no_progress,
) -> Outputs:
    """Logits of ``model`` in evaluation mode for all batches, in their order; its training flags are restored.

    ``loader`` yields (images, labels) on the model's device, ``autocast`` makes the context of each forward pass,
    ``progress`` hears of the images done.

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


class ChosenOutputs(nn.Module):
    """A classifier of which some outputs alone are looked at.

    Args:
        network: gives logits (B, K).
        outputs: those that are kept, in this order.
    """

    index: Tensor

    def __init__(self, network: nn.Module, outputs: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("index", torch.tensor(outputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The kept logits (B, len(outputs))."""
        logits: Tensor = self.network(x)
        return logits[:, self.index]
