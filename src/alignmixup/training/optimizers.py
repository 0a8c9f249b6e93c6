"""Optimiser and weight average of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alignmixup.training.config import OptimizerConfig


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, *, extra_parameters: Iterable[nn.Parameter] = ()
) -> Optimizer:
    """The optimiser over the model's parameters and those that a mixer trains besides them.

    Convention:
        - ``decay_norm_and_bias = true`` decays everything, as the mixup papers do. Otherwise parameters with
          fewer than two axes (biases, normalisation scales and shifts) are exempt.
    """
    parameters = [p for p in [*model.parameters(), *extra_parameters] if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no parameter that requires a gradient: nothing to train")
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if not config.decay_norm_and_bias:
        exempt = [p for p in parameters if p.ndim < 2]
        decayed = [p for p in parameters if p.ndim >= 2]
        groups = [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
    # one pass over the weights instead of one for each term: three times faster on CPU, one kernel on CUDA
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    if config.name == "adamw":
        betas = (config.beta1, config.beta2)
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Use ``rate`` for every parameter group from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of parameters and buffers; its first update copies the model.

    Averaging the buffers too keeps the running statistics of batch normalisation in step with the weights.
    """
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
