"""What is asked of any torch module: where it lies, and to run it in evaluation mode without a trace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["device_of", "dtype_of", "evaluation_flags", "evaluation_mode", "training_flags"]


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter; the CPU for a model that has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype:
    """The precision that images need: float64 for a model of that, float32 for all others."""
    first = next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), None)
    return torch.float64 if first == torch.float64 else torch.float32


def training_flags(model: nn.Module) -> Callable[[], None]:
    """Note each module's own training flag; what is returned restores them, and only them."""
    flags = {module: module.training for module in model.modules()}

    def restore() -> None:
        for module, training in flags.items():
            module.training = training

    return restore


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Context in which ``model`` is in evaluation mode; each module's own flag is restored."""
    restore, was_training = training_flags(model), model.training
    try:
        model.eval()  # a model's own `train` may raise halfway
        yield
    finally:
        try:
            if was_training:
                model.train()  # what `eval` did beside the flags, such as merging weights, only `train` undoes
        finally:
            restore()


@contextmanager
def evaluation_flags(model: nn.Module) -> Iterator[None]:
    """Context in which every training flag is off, and no more is done: no module's own ``train`` or ``eval`` runs.

    A module may merge weights there, as LoRA's do, or empty what it keeps.
    """
    restore = training_flags(model)
    try:
        for module in model.modules():
            module.training = False
        yield
    finally:
        restore()
