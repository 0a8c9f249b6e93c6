"""Which model a layer runs for: a module may be part of several, and the batch is of one."""

import sys
from collections.abc import Iterator

import torch
from torch import nn


def runs_for(root: nn.Module) -> bool:
    """Tell whether the layer that runs now does so for a model, and not for another one that has the layer too.

    The first module called around it that is no part of the model decides: the model itself, or what is wrapped around
    it, against any other. Parts that are called one by one run for it, and so does whatever a backward pass runs again.
    """
    if torch._C._current_graph_task_id() != -1 or any(module is root for module in _called("_call_impl")):
        return True
    parts = set(root.modules())
    outside = next(
        (module for module in _called("_call_impl", "forward") if module is root or module not in parts), root
    )
    return root in outside.modules()


def _called(*names: str) -> Iterator[nn.Module]:
    """The modules whose methods of these names are at work, the innermost first.

    Other frames are not asked for their variables: Python then keeps what these hold until the method returns.
    """
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name in names and code.co_varnames[:1] == ("self",):
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module):
                yield module
        frame = frame.f_back  # type: ignore[assignment]
