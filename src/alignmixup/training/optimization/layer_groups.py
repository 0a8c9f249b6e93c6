"""A network's parameters in groups, from its first layers to its last, for learning rates that fall with the depth."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.modules import evaluation_mode

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class LayerGroup:
    """What is updated at one rate: the stem, or a block, of a network with blocks; a layer of one without."""

    name: str
    parameters: list[nn.Parameter] = field(default_factory=list)


@dataclass
class _Part:
    """A block or layer; ``module`` is None for parameters that a module with blocks holds itself, such as positions."""

    name: str
    module: nn.Module | None
    parameters: list[nn.Parameter]

    @property
    def layers(self) -> int:
        """How many layers it has; 0 where no weights of them are left."""
        return _layers(self.module) if self.module and any(p.ndim > 1 for p in self.parameters) else 0


def layer_groups(model: nn.Module, example: Tensor, *, head: Collection[int] = ()) -> list[LayerGroup]:
    """Parameters by blocks, in the order in which blocks run.

    Convention (that of BEiT, and of timm for the networks that say their blocks there):
        - A block is a module with several layers that have weights. Those in a list (``nn.Sequential``,
          ``nn.ModuleList``) are blocks each.
        - Layers, positions and class tokens before the first block are one group, the stem. What stands between blocks
          goes with the one after it, what stands behind the last with that.
        - In a network without blocks each layer is a group, with the norm behind it.

    Args:
        model: the network.
        example: images (B, C, H, W) that it is run on, in evaluation mode, to see the order.
        head: ids of parameters that are in no group.

    Returns:
        The groups with parameters, first layers first. Each parameter is in one of them.
    """
    seen = set(head)
    parts = _in_order(model, list(_parts(model, "", root=True)), example)
    for part in parts:
        part.parameters = [p for p in part.parameters if id(p) not in seen]
        seen |= {id(p) for p in part.parameters}
    smallest = min(2, max(part.layers for part in parts))  # a block has several layers; without blocks a layer is one
    groups: list[LayerGroup] = []
    waiting = LayerGroup("")  # for the block after them
    for part in parts:
        if 0 < smallest <= part.layers:
            if not groups and waiting.name:
                groups.append(waiting)
                waiting = LayerGroup("")
            groups.append(LayerGroup(part.name, waiting.parameters + part.parameters))
            waiting = LayerGroup("")
        elif part.layers or waiting.name or not groups:
            waiting.name = waiting.name or (part.name if part.layers else "")
            waiting.parameters += part.parameters
        else:
            groups[-1].parameters += part.parameters
    if groups:
        groups[-1].parameters += waiting.parameters
    return groups or ([waiting] if waiting.parameters else [])


def _parts(module: nn.Module, name: str, *, root: bool = False) -> Iterator[_Part]:
    if not root and (_layers(module) <= 1 or not (isinstance(module, _LISTS) or _has_blocks(module))):
        yield _Part(name, module, list(module.parameters()))
        return
    yield _Part(name, None, list(module.parameters(recurse=False)))
    for child_name, child in module.named_children():
        yield from _parts(child, f"{name}.{child_name}".lstrip("."))


def _has_blocks(module: nn.Module) -> bool:
    return any(_is_list_of_blocks(part) for part in module.modules() if isinstance(part, _LISTS))


def _is_list_of_blocks(module: nn.Module) -> bool:
    blocks = [type(child) for child in module.children() if _layers(child) > 1]
    return len(blocks) > 1 and len(set(blocks)) == 1


def _layers(module: nn.Module) -> int:
    """How many modules inside have weights of their own; norms have none of two axes."""
    return sum(any(p.ndim > 1 for p in part.parameters(recurse=False)) for part in module.modules())


def _in_order(model: nn.Module, parts: list[_Part], example: Tensor) -> list[_Part]:
    """Sort by the first call in a forward; what is not called follows what it is listed behind."""
    calls: dict[int, int] = {}

    def note(number: int, *_: Any) -> None:
        calls.setdefault(number, len(calls))

    hooks = [
        part.module.register_forward_pre_hook(partial(note, number))
        for number, part in enumerate(parts)
        if part.module is not None
    ]
    try:
        with evaluation_mode(model), torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    place, places = -1, []
    for number, part in enumerate(parts):
        if number not in calls:
            part.module = None  # an auxiliary head is no block on the way
        place = calls.get(number, place)
        places.append(place)
    return [part for _, part in sorted(zip(places, parts, strict=True), key=lambda pair: pair[0])]
