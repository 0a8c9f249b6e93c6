"""Optimiser and weight average of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alignmixup.modules import evaluation_mode
from alignmixup.outside import require
from alignmixup.taps.outputs import find_logits
from alignmixup.training.config import OptimizerConfig
from alignmixup.training.optimization.layer_groups import layer_groups

_SHOWN = 4  # rates at either end
_NEEDED = "optimizer.head_lr_factor, layer_decay, freeze and muon need a head"


def build_optimizer(
    model: nn.Module,
    config: OptimizerConfig,
    *,
    extra_parameters: Iterable[nn.Parameter] = (),
    example: Tensor | None = None,
) -> Optimizer:
    """The optimiser over the model's parameters and those that a mixer trains besides them.

    Convention:
        - ``decay_norm_and_bias = true`` decays everything, as the mixup papers do. Otherwise parameters with
          fewer than two axes (biases, normalisation scales and shifts) are exempt.
        - ``muon`` is timm's: hidden weights get the orthogonalised momentum, kernels of convolutions as matrices
          (out, in x h x w), at rates that match AdamW's (`match_rms_adamw`); the head and everything with fewer
          than two axes are left to AdamW at the same rate.
        - ``head_lr_factor`` multiplies the rate of the model's ``head_parameters()`` or timm's ``get_classifier()``, in
          models without these of the last linear layer. ``layer_decay`` multiplies the rate of the d-th group before
          the head (:func:`~alignmixup.training.optimization.layer_groups.layer_groups`) by ``layer_decay ** d``. The
          schedule multiplies all.

    Args:
        model: the network.
        config: which optimiser, and its rates.
        extra_parameters: of a mixer, at the rate of ``config``.
        example: images (B, C, H, W) as the model gets them, which ``layer_decay`` needs: it runs the model on them to
            see the order of its layers. Where they are given, it is checked that the last linear layer is the head.

    Raises:
        ValueError: nothing to train, or a factor for a model without a head that can be told.
    """
    parameters = [p for p in [*model.parameters(), *extra_parameters] if p.requires_grad]
    if not parameters:
        raise ValueError("the model has no parameter that requires a gradient: nothing to train")
    groups = _groups(model, parameters, config, example)
    betas = (config.beta1, config.beta2)
    if config.name == "muon":
        common: dict[str, Any] = {"lr": config.lr, "momentum": config.momentum, "nesterov": config.nesterov}
        muon: Optimizer = require("timm.optim").Muon(groups, **common, betas=betas, weight_decay=config.weight_decay)
        return muon
    # one pass over the weights instead of one for each term: three times faster on CPU, one kernel on CUDA
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def freeze_backbone(model: nn.Module, example: Tensor | None = None) -> None:
    """Leave only the head to be trained: no gradients for the rest, and its modules in eval mode.

    Call it again after ``model.train()``, which would let batch-norm statistics move. ``example`` is that of
    `build_optimizer`.

    Raises:
        ValueError: the model has no head that can be told.
    """
    head = {id(parameter) for parameter in _head_parameters(model, example)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in head)
    for module in model.modules():
        if module is not model and not any(id(parameter) in head for parameter in module.parameters()):
            module.eval()


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Use ``rate``, times the group's own factor, for every parameter group from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of parameters and buffers; its first update copies the model.

    Averaging the buffers too keeps the running statistics of batch normalisation in step with the weights.
    """
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def describe_rates(optimizer: Optimizer, rate: float) -> str:
    """The groups of parameters with a rate of their own, the fastest first; empty where all have the same.

    Args:
        optimizer: from :func:`build_optimizer`.
        rate: what the schedule multiplies.
    """
    factors: dict[str, float] = {}
    for group in optimizer.param_groups:
        factors.setdefault(group.get("name", "the rest"), group.get("lr_factor", 1.0))
    if len(set(factors.values())) == 1:
        return ""
    rates = [f"{name} {rate * factor:.3g}" for name, factor in reversed(factors.items())]
    if len(rates) > 2 * _SHOWN:
        rates = [*rates[:_SHOWN], "...", *rates[-_SHOWN + 1 :]]
    return f"learning rates of {len(factors)} groups: {', '.join(rates)}"


def _groups(
    model: nn.Module, parameters: list[nn.Parameter], config: OptimizerConfig, example: Tensor | None
) -> list[dict[str, Any]]:
    """Parameters by their rate and decay, first layers first; one group where all have the same."""
    told_apart = config.head_lr_factor != 1 or config.layer_decay != 1 or config.name == "muon"
    head = {id(p) for p in _head_parameters(model, example)} if told_apart else set()
    place: dict[int, int] = dict.fromkeys(head, 0)  # groups before the head
    names = {0: "head"} if told_apart else {}
    if config.layer_decay != 1:
        if example is None:
            raise ValueError("optimizer.layer_decay needs an example: images that the model is run on")
        for depth, group in enumerate(reversed(layer_groups(model, example, head=head)), start=1):
            place |= {id(p): depth for p in group.parameters}
            names[depth] = group.name
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in parameters:
        exempt = not config.decay_norm_and_bias and parameter.ndim < 2
        groups.setdefault((place.get(id(parameter), math.inf), exempt), []).append(parameter)
    found = []
    for before_head, exempt in sorted(groups, key=lambda key: (-key[0], key[1])):
        own: dict[str, Any] = {"params": groups[before_head, exempt]}
        if before_head in names:
            factor = config.layer_decay**before_head if before_head else config.head_lr_factor
            own |= {"lr": config.lr * factor, "lr_factor": factor, "name": names[int(before_head)]}
        if config.name == "muon":
            own["use_fallback"] = before_head == 0
        found.append(own | ({"weight_decay": 0.0} if exempt else {}))
    return found


def _head_parameters(model: nn.Module, example: Tensor | None) -> list[nn.Parameter]:
    """What the model says that its head is; else its last linear layer, which must give the logits of ``example``."""
    named = getattr(model, "head_parameters", None)
    if named is not None:
        return cast(list[nn.Parameter], named())
    if hasattr(model, "get_classifier"):  # timm's: a module, or those of a network with several heads
        found = cast(Any, model).get_classifier()
        parts = found if isinstance(found, tuple | list) else [found]
        if parameters := [p for part in parts if part is not None for p in part.parameters()]:
            return parameters
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if not linear:
        raise ValueError(f"{_NEEDED}: {type(model).__name__} has no linear layer and no method head_parameters()")
    name, last = list(linear.items())[-1]
    if example is not None:
        _check_gives_logits(model, linear, name, example)
    return list(last.parameters())


def _check_gives_logits(model: nn.Module, linear: Mapping[str, nn.Linear], name: str, example: Tensor) -> None:
    """Refuse a layer that another one follows: modules may be listed in another order than that in which they run."""
    ran: list[str] = []
    hooks = [layer.register_forward_hook(lambda *_, one=one: ran.append(one)) for one, layer in linear.items()]
    try:
        with evaluation_mode(model), torch.no_grad():
            found = find_logits(model(example))
    finally:
        for hook in hooks:
            hook.remove()
    logits = 0 if found is None else found.shape[-1]
    if ran[-1:] != [name] or linear[name].out_features != logits:
        raise ValueError(
            f"{_NEEDED}: of the linear layers of {type(model).__name__} {name} is listed last, with "
            f"{linear[name].out_features} outputs, and {', '.join(ran[-1:]) or 'none'} runs last, for {logits} logits; "
            "give the model a method head_parameters()"
        )
