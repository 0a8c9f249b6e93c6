"""What public functions ask of their tensors: kind of number, axes, device, and values where looking is free.

A wrong argument is refused here, in a sentence that names it, before C or Triton code sees it. Values are read on the
CPU only: elsewhere that would wait for the device.
"""

from collections.abc import Callable
from functools import cache, wraps
from itertools import chain
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGER = (
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
ROUNDING = 1e-5  # by which a weight may leave [0, 1]: means of ones add up to a little more


def transformed(*tensors: Tensor) -> bool:
    """Whether one of these tensors stands for several values in a transform of ``torch.func``, as inside ``vmap``."""
    return not torch.compiler.is_compiling() and any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


def in_forward_mode() -> bool:
    """Whether derivatives may be computed forwards, as in ``torch.autograd.forward_ad.dual_level``."""
    return not torch.compiler.is_compiling() and torch.autograd.forward_ad._current_level >= 0


def whole_batches(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let a function that works in place on whole batches refuse the batches of ``vmap``; the rest goes through."""

    @wraps(function)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if not torch.compiler.is_compiling() and any(map(_is_batched, chain(args, kwargs.values()))):
            raise TypeError(
                f"{function.__name__} does not run inside torch.func.vmap: it takes whole batches; call it in a loop, "
                "or with the batches joined into one"
            )
        return function(*args, **kwargs)

    return checked


def _is_batched(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_batched, value))
    functorch = torch._C._functorch
    while isinstance(value, Tensor) and functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return True
        value = functorch.get_unwrapped(value)
    return False


def readable(*tensors: Tensor) -> bool:
    """Whether values and memory of these tensors can be looked at now, for nothing.

    They can on the CPU, outside ``torch.compile`` and the transforms of ``torch.func``.
    """
    if torch.compiler.is_compiling():
        return False
    for tensor in tensors:
        if not tensor.is_cpu or type(tensor) not in (Tensor, torch.nn.Parameter):
            return False
    return not transformed(*tensors)


def floating(name: str, value: Tensor, axes: str, *, like: Tensor | None = None, **sizes: int) -> Tensor:
    """Check a floating-point tensor.

    Args:
        name: what the caller knows it as.
        value: the argument.
        axes: names of the axes, as ``"B C *positions"`` (a star: one or more), ``"B ..."`` (any number) or
            ``"B 3 H W"``. None but the first and those of ``...`` may be empty.
        like: a tensor whose device it must share.
        sizes: the sizes that axes must have, by name.

    Returns:
        The tensor.

    Raises:
        TypeError: no dense tensor of half, single or double precision.
        ValueError: other axes, or another device.
    """
    check_tensor(name, value, axes)
    if value.dtype not in FLOATING:
        raise TypeError(f"{name} must be floating point, got {value.dtype}: convert it, as with {name}.float()")
    _check_place(name, value, axes, like, sizes)
    return value


def integers(
    name: str,
    value: Tensor,
    axes: str,
    *,
    low: int = 0,
    below: int | None = None,
    like: Tensor | None = None,
    **sizes: int,
) -> Tensor:
    """Check an integer tensor of any width, and on the CPU its range [low, below); give it as int64.

    Other arguments, result and errors are those of `floating`.
    """
    check_tensor(name, value, axes)
    if value.dtype not in INTEGER:
        raise TypeError(f"{name} must hold integers, got {value.dtype}: convert it, as with {name}.long()")
    _check_place(name, value, axes, like, sizes)
    value = value.long()
    if below is not None and value.numel() and readable(value):
        least, largest = map(int, value.aminmax())
        if least < low or largest >= below:
            raise ValueError(
                f"{name} must be in [{low}, {below}), got {least if least < low else largest}"
                + (": count from the front" if least < low == 0 else "")
            )
    return value


def booleans(name: str, value: Tensor, axes: str, *, like: Tensor | None = None, **sizes: int) -> Tensor:
    """Check a mask of booleans; arguments, result and errors are those of `floating`."""
    check_tensor(name, value, axes)
    if value.dtype != torch.bool:
        raise TypeError(f"{name} must be boolean, got {value.dtype}: compare it with a threshold, as {name} > 0.5")
    _check_place(name, value, axes, like, sizes)
    return value


def paired(name: str, x: Tensor, perm: Tensor, axes: str = "B ...") -> Tensor:
    """Check floating-point samples and their partners, ``x[perm]``; give ``perm`` as int64."""
    floating(name, x, axes)
    check_tensor("perm", perm, "B")
    if perm.ndim != 1 or perm.shape[0] != x.shape[0]:
        raise ValueError(
            f"{name} of shape {tuple(x.shape)} does not match perm of shape {tuple(perm.shape)}: "
            "perm must have shape (B,), the partner of each sample"
        )
    return integers("perm", perm, "B", below=x.shape[0], like=x)


def weights(name: str, value: Tensor | float, like: Tensor) -> Tensor:
    """Check weights in [0, 1], one number for all samples or one for each.

    Args:
        name: what the caller knows them as.
        value: a number, a tensor without axes, or (B,).
        like: (B, ...) samples that are weighed; the weights must be on its device.

    Returns:
        (B,), differentiable: float32, or float64 for a ``like`` of float64; of the precision given, for a ``like``
        that is not floating point. Half-precision weights would not add up to 1.

    Raises:
        TypeError: not floating point.
        ValueError: another shape or device, or, for numbers and on the CPU, a weight out of range.
    """
    batch = like.shape[0]
    wide = torch.promote_types(like.dtype, torch.float32) if like.dtype in FLOATING else None
    if not isinstance(value, Tensor):
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number or a tensor of shape (B,), got {type(value).__name__}")
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
        return torch.full((batch,), float(value), dtype=wide or torch.float64, device=like.device)
    floating(name, value, "B" if value.ndim else "", like=like, **({"B": batch} if value.ndim else {}))
    if value.numel() and readable(value):
        least, largest = map(float, value.detach().aminmax())
        if not (least >= -ROUNDING and largest <= 1 + ROUNDING):  # NaN compares as false
            raise ValueError(f"{name} must be in [0, 1], got values from {least} to {largest}")
    return value.to(wide or torch.promote_types(value.dtype, torch.float32)).expand(batch)


def count(name: str, value: int, *, least: int = 1) -> int:
    """Check a whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)


def check_tensor(name: str, value: Tensor, axes: str) -> None:
    """Refuse what is no dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor of shape {_shape(axes)}, got {type(value).__name__}: "
            "convert it, as with torch.as_tensor"
        )
    if value.layout != torch.strided or value.is_quantized:
        kind = "a quantized one" if value.is_quantized else f"layout {value.layout}"
        raise TypeError(f"{name} must be a dense tensor, got {kind}: convert it first")


def _check_place(name: str, value: Tensor, axes: str, like: Tensor | None, sizes: dict[str, int]) -> None:
    if not _fits(value.shape, axes, sizes):
        known = ", ".join(f"{axis} = {size}" for axis, size in sizes.items() if axis in axes.split())
        raise ValueError(
            f"{name} must have shape {_shape(axes)}{f' with {known}' if known else ''}, got {tuple(value.shape)}"
        )
    if like is not None and value.device != like.device:
        raise ValueError(
            f"{name} is on {value.device}, but the other arguments are on {like.device}: "
            f"move it with {name}.to({str(like.device)!r})"
        )


def _fits(shape: torch.Size, axes: str, sizes: dict[str, int]) -> bool:
    # the compiler warns of caches, and reads what is written anyway
    names, is_open, may_be_empty = (_parse if torch.compiler.is_compiling() else _parsed)(axes)
    if len(shape) < len(names) or (len(shape) > len(names) and not is_open):
        return False
    for place, (name, written) in enumerate(names):
        size = shape[place]
        if size != (sizes.get(name, size) if written is None else written) or (size == 0 and place > 0):
            return False
    return may_be_empty or 0 not in shape[len(names) :]


def _parse(axes: str) -> tuple[list[tuple[str, int | None]], bool, bool]:
    """Names of axes with the sizes that are written; whether more axes may follow, and whether those may be empty."""
    names = axes.split()
    rest = bool(names) and names[-1] == "..."
    is_open = rest or (bool(names) and names[-1].startswith("*"))
    named = names[:-1] if rest else names
    return [(name, int(name) if name.isdigit() else None) for name in named], is_open, rest


_parsed = cache(_parse)  # it takes longer than all other checks


def _shape(axes: str) -> str:
    names = axes.split()
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"
