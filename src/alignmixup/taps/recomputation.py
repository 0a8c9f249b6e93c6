"""Activation checkpointing runs a layer again in the backward pass: what was mixed must be mixed again there."""

import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from alignmixup.taps.outputs import tensors_of

OUTSIDE = (
    "the backward pass of a batch mixed at layer {name!r}, which lies in an activation checkpoint, ran outside its "
    "`with mixer(x, y) as batch:` block, or that of another batch inside it, where the checkpoint runs the layer again "
    "and would not mix it as before: call loss.backward() inside the block, or leave the layer out of the checkpoint"
)
_CHECKPOINT = "torch.utils.checkpoint"


class Recomputation:
    """What applied to one layer in runs that a checkpoint will repeat: a mixture, or nothing.

    Reentrant checkpoints say which run they repeat. Others do not, so that nested blocks that both wait for one are
    refused too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._applied: weakref.WeakKeyDictionary[Any, object | None] = weakref.WeakKeyDictionary()
        self._expected: list[tuple[object, Callable[[], object]]] = []  # and whether its graph still exists

    def before(self, mix: object | None) -> None:
        """Look at a run of the layer to which ``mix`` applies.

        Raises:
            RuntimeError: it repeats a run to which something else applied.
        """
        if torch._C._current_graph_task_id() == -1 or not (self._applied or self._expected):
            return
        repeated = [self._applied.get(node, mix) for node in _reentrant_checkpoints("backward")]
        expected = [other for other, exists in self._expected if exists()]
        self._expected.clear()
        if any(other is not mix for other in repeated or expected):
            raise RuntimeError(OUTSIDE.format(name=self.name))

    def after(self, mix: object | None, output: Any, is_live: Callable[[object | None], bool]) -> None:
        """Remember a run that will be repeated: ``is_live`` tells later whether the same still applies."""
        if torch._C._current_graph_task_id() != -1:
            return
        if not torch.is_grad_enabled():
            self._applied.update((node, mix) for node in _reentrant_checkpoints("forward"))
        elif _in_checkpoint():

            def check(gradient: Tensor) -> None:
                if not is_live(mix):
                    raise RuntimeError(OUTSIDE.format(name=self.name))

            for tensor in tensors_of(output):
                if tensor.requires_grad:
                    tensor.register_hook(check)  # type: ignore[no-untyped-call]
            if mix is not None:
                # a graph keeps these hooks, of its gradients and of what is saved for them behind a frozen layer
                kept: list[weakref.ref[Any]] = [weakref.ref(hook) for hook in (check, *_own(_saving_hooks()))]
                self._expected.append((mix, lambda: any(hook() is not None for hook in kept)))


def _in_checkpoint() -> bool:
    """Tell whether what runs now lies in a checkpoint that is not reentrant, and so keeps its graph."""
    hooks = _saving_hooks()
    if hooks == () or _own(hooks):
        return hooks != ()
    # torch 2.6 does not show its hooks, and others may lie on top, as those of `save_on_cpu`: look for who calls
    return any(frame.f_globals.get("__name__") == _CHECKPOINT for frame in _callers())


def _own(hooks: tuple[Any, ...] | None) -> list[Any]:
    """Those of a checkpoint."""
    return [hook for hook in hooks or () if getattr(hook, "__module__", "") == _CHECKPOINT]


def _saving_hooks() -> tuple[Any, ...] | None:
    """The functions to which what is saved for a backward pass is given now; None where torch does not tell."""
    try:
        return torch._C._autograd._top_saved_tensors_default_hooks(True) or ()
    except AttributeError:
        return None


def _reentrant_checkpoints(part: str) -> list[Any]:
    """The nodes in the graph of the reentrant checkpoints at work, in their forward or their backward part."""
    name = f"CheckpointFunction.{part}"
    return [frame.f_locals["ctx"] for frame in _callers() if frame.f_code.co_qualname == name]


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
