"""Tensors inside what a module takes or returns: sequences, mappings, dataclasses, objects with attributes."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def map_tensors(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Replace every floating-point tensor of an output, whatever holds it; the same tensor twice is replaced once.

    Other things are left as they are, and containers keep their types. An object is looked into where it is all that
    there is: beside tensors it is the model's own.
    """
    done: dict[int, Tensor] = {}
    if children_of(output) is None and (attributes := children_of(output, objects=True)):
        return rebuilt(output, {key: _mapped(function, child, done) for key, child in attributes})
    return _mapped(function, output, done)


def _mapped(function: Callable[[Tensor], Tensor], value: Any, done: dict[int, Tensor]) -> Any:
    # no function inside another that calls itself: such a cycle would keep the tensors until Python collects garbage
    if isinstance(value, Tensor):
        if value.ndim == 0 or not value.is_floating_point():
            return value
        if id(value) not in done:
            done[id(value)] = function(value)
        return done[id(value)]
    children = children_of(value)
    if children is None:
        return value
    return rebuilt(value, {key: _mapped(function, child, done) for key, child in children})


def tensors_of(output: Any) -> list[Tensor]:
    """List the floating-point tensors of an output, each once, in the order of :func:`map_tensors`."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, output)
    return found


def first_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor of an output; None where there is none."""
    return next(iter(tensors_of(output)), None)


def replaced(output: Any, tensor: Tensor, new: Tensor) -> Any:
    """The output with ``new`` in the place of one of its tensors."""
    return map_tensors(lambda own: new if own is tensor else own, output)


def find_logits(output: Any, classes: int | None = None) -> Tensor | None:
    """Find the logits in what a classifier returns: the tensor, ``.logits``, ``["logits"]``, or the first (B, K).

    K, where it is known, tells them from pooled features. None where no tensor is there.
    """
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    tensors = tensors_of(output)
    flat = [tensor for tensor in tensors if tensor.ndim == 2]
    exact = [tensor for tensor in flat if tensor.shape[1] == classes]
    return next(iter([*exact, *flat, *tensors]), None)


def logits_of(name: str, output: Any, batch: int) -> Tensor:
    """Find the logits of ``batch`` examples, (B, ...); those of further heads of the same classes stand behind them.

    Raises:
        ValueError: the model of this name returns no tensor with B rows.
    """
    logits = find_logits(output)
    if logits is None or not logits.ndim or logits.shape[0] != batch:
        got = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"{name} returns {got} for {batch} examples: expected logits (B, K), alone, as .logits, as ['logits'] or "
            "in a tuple"
        )
    heads = [tensor for tensor in tensors_of(output) if tensor is not logits and tensor.shape == logits.shape]
    return torch.cat([logits, *heads], dim=1) if heads and logits.ndim == 2 else logits


def children_of(value: Any, *, objects: bool = False) -> Iterator[tuple[Any, Any]] | None:
    """Entries of a container, and of ``objects`` with tensors their attributes; None for what is neither."""
    if isinstance(value, Mapping):
        return iter(value.items())
    if isinstance(value, tuple | list):
        return iter(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    attributes = _attributes(value) if objects else None
    return None if attributes is None else iter(attributes.items())


def _attributes(value: Any) -> dict[str, Any] | None:
    """What an object has of its own; None where no tensor is among that, nor in its sequences and dictionaries."""
    if isinstance(value, SimpleNamespace):
        return vars(value)
    own: dict[str, Any] = {} if isinstance(value, nn.Module | type) else getattr(value, "__dict__", {})
    return own if own and any(isinstance(leaf, Tensor) for leaf in tree_leaves(dict(own))) else None


def rebuilt(value: Any, children: dict[Any, Any]) -> Any:
    """Make a container of the same type with other entries."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*children.values())
    if isinstance(value, tuple | list):
        return type(value)(children.values())
    if type(value) is dict:
        return children
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {field.name for field in dataclasses.fields(value) if field.init}
        made = dataclasses.replace(value, **{name: child for name, child in children.items() if name in given})
        for name in children.keys() - given:
            object.__setattr__(made, name, children[name])  # it may be frozen
        return made
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return type(value)(children)  # type: ignore[call-arg]
    new = value.copy() if type(value) is OrderedDict else copy(value)  # the one can be compiled
    (new if isinstance(value, Mapping) else vars(new)).update(children)
    return new
