"""Layouts of feature maps: everything is shown to a mixing function as (B, C, h, w)."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["channels_first", "channels_last", "tokens"]

_TOKEN_PARAMETERS = {
    "class_token", "cls_token", "dist_token", "reg_token", "register_token", "register_tokens", "storage_tokens"
}  # fmt: skip


def count_prefix_tokens(root: nn.Module) -> int:
    """Count the class and register tokens that a token model puts before its patches.

    timm models say so themselves (``num_prefix_tokens``); elsewhere the learned tokens are found by name.
    """
    declared = getattr(root, "num_prefix_tokens", None)
    if isinstance(declared, int):
        return declared
    tokens = [p for name, p in root.named_parameters() if name.rpartition(".")[2] in _TOKEN_PARAMETERS]
    return sum(p.shape[-2] if p.ndim >= 2 else 1 for p in tokens)


def guess_layout(module: nn.Module, shape: tuple[int, ...]) -> Layout:
    """Tell the layout of a module's output from its shape, and from the module's own widths where that is open.

    Feature maps are nearly always square: the two equal axes are the spatial ones. Where this does not decide,
    a convolution or BatchNorm as wide as axis 1 speaks for channels first, a LayerNorm or linear layer as wide
    as the last axis for channels last.

    Raises:
        ValueError: the shape has neither three nor four axes, or the evidence is ambiguous.
    """
    if len(shape) == 3:
        return "tokens"
    if len(shape) != 4:
        raise ValueError(
            f"cannot mix an output of shape {shape}: expected (B, C, h, w), (B, h, w, C) or tokens (B, N, C)"
        )
    _, one, two, three = shape
    if two == three != one:
        return "channels_first"
    if one == two != three:
        return "channels_last"
    first: set[int] = set()
    last: set[int] = set()
    for part in module.modules():
        if isinstance(part, nn.modules.conv._ConvNd):
            first.add(part.out_channels)
        elif isinstance(part, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            first.add(part.num_features if isinstance(part, nn.modules.batchnorm._BatchNorm) else part.num_channels)
        elif isinstance(part, nn.LayerNorm):
            last.add(part.normalized_shape[-1])
        elif isinstance(part, nn.Linear):
            last.add(part.out_features)
    if one in first and not (three in last and three not in first):
        return "channels_first"
    if three in last:
        return "channels_last"
    raise ValueError(
        f"cannot tell where the channels are in an output of shape {shape} of {type(module).__name__}: "
        "pass layout='channels_first' or layout='channels_last'"
    )


def apply_in_layout(function: Callable[[Tensor], Tensor], output: Tensor, layout: Layout, prefix: int) -> Tensor:
    """Apply a function of (B, C, h, w) to an output in another layout.

    Convention:
        - with ``"tokens"`` the first ``prefix`` tokens (class, registers) are left alone; the patches become a
          square grid where their number is a square, a column otherwise.

    Args:
        function: maps (B, C, h, w) to the same shape.
        output: (B, C, h, w), (B, h, w, C) or (B, N, C).
        layout: which of the three.
        prefix: number of leading tokens that are not positions.

    Returns:
        Shape and layout of ``output``.
    """
    if layout == "channels_first":
        return function(output)
    if layout == "channels_last":
        return function(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    batch, count, channels = output.shape
    prefix = _prefix_in(count, prefix)
    patches = count - prefix
    side = math.isqrt(patches)
    grid = (side, side) if side * side == patches else (patches, 1)
    mixed = function(output[:, prefix:].transpose(1, 2).reshape(batch, channels, *grid))
    mixed = mixed.reshape(batch, channels, patches).transpose(1, 2)
    return torch.cat([output[:, :prefix], mixed], dim=1) if prefix else mixed


def _prefix_in(count: int, prefix: int) -> int:
    """Tell whether this output carries the prefix: a patch embedding comes before the class token is added."""
    is_square = math.isqrt(count) ** 2 == count
    is_square_without = count > prefix and math.isqrt(count - prefix) ** 2 == count - prefix
    return 0 if is_square and not is_square_without else prefix
