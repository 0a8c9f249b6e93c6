"""Activation checkpointing runs a layer again in the backward pass: what was mixed must be mixed again there."""

import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from alignmixup.taps.outputs import tensors_of

OUTSIDE = (
    "the backward pass of a batch mixed at layer {name!r}, which lies in an activation checkpoint, ran outside its "
    "`with mixer(x, y) as batch:` block, or in another one's, where the checkpoint runs the layer again and would "
    "not mix it as before: call loss.backward() inside the block, or leave the layer out of the checkpoint"
)


class Recomputation:
    """The mixtures of one layer that a checkpoint will compute again.

    Which batch a checkpoint repeats is not told, so that nested blocks that both wait for it are refused too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._expected: list[tuple[object, Callable[[], object]]] = []  # and whether its graph still exists

    def before(self, mix: object | None) -> None:
        """Look at a run of the layer to which ``mix`` applies.

        Raises:
            RuntimeError: it repeats a run to which something else applied.
        """
        if not self._expected or torch._C._current_graph_task_id() == -1:
            return
        others = [other for other, exists in self._expected if other is not mix and exists()]
        self._expected.clear()
        if others:
            raise RuntimeError(OUTSIDE.format(name=self.name))

    def after(self, mix: object, mixed: Any, is_live: Callable[[object], bool]) -> None:
        """Remember a run that will be repeated: ``is_live`` tells later whether the mixture still applies."""
        if torch._C._current_graph_task_id() != -1:
            return
        if not torch.is_grad_enabled():
            if _in_reentrant_checkpoint():
                self._expected.append((mix, lambda: True))
        elif _in_checkpoint():

            def check(gradient: Tensor) -> None:
                if not is_live(mix):
                    raise RuntimeError(OUTSIDE.format(name=self.name))

            for tensor in tensors_of(mixed):
                if tensor.requires_grad:
                    tensor.register_hook(check)  # type: ignore[no-untyped-call]
            self._expected.append((mix, weakref.ref(check)))  # the graph keeps its hook


def _in_checkpoint() -> bool:
    name = "torch.utils.checkpoint"
    try:
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    except AttributeError:  # torch 2.6 does not show its hooks
        pass
    else:
        if hooks is None or getattr(hooks[0], "__module__", "") == name:
            return hooks is not None
    # others may lie on top of a checkpoint's, as those of `save_on_cpu`: look for who calls
    return _is_called_by(lambda frame: frame.f_globals.get("__name__") == name)


def _in_reentrant_checkpoint() -> bool:
    return _is_called_by(lambda frame: frame.f_code.co_qualname.endswith("CheckpointFunction.forward"))


def _is_called_by(is_caller: Callable[[FrameType], bool]) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_caller(frame):
        frame = frame.f_back
    return frame is not None
