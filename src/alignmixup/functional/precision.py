"""Where float32 is not enough: the widest type that a device has, and no autocast."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on MPS, which has no other."""
    return torch.float32 if device.type == "mps" else torch.float64


def single(tensor: Tensor) -> Tensor:
    """The tensor in the precision in which it is computed: float32 at least."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def where_wide(tensor: Tensor) -> Tensor:
    """The tensor on a device that has float64: itself, or on MPS its copy on the CPU, which waits for the device."""
    return tensor.cpu() if widest(tensor.device) != torch.float64 else tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Compute in the types that tensors have, where this one lies; the meta device has no autocast to switch off."""
    return nullcontext() if tensor.device.type == "meta" else torch.autocast(tensor.device.type, enabled=False)


def exact_product(weights: Tensor, target: Tensor) -> Tensor:
    """Matrix product of shares and labels, whatever the backend is set to round (TF32) and whatever autocast does.

    (..., n, m) and (..., m, K) give (..., n, K), of the dtype of ``target``.
    """
    wide = widest(target.device)
    with without_autocast(target):
        return (weights.to(wide) @ target.to(wide)).to(target.dtype)
