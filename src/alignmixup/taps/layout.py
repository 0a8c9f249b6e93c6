"""Forms of layer outputs: everything is shown to a mixing function as (B, C, positions...)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["channels_first", "channels_last", "tokens"]
Before = tuple[Layout, tuple[int, ...]]  # of an output: its layout and its shape

_TOKEN_PARAMETERS = {
    "class_token", "cls_token", "dist_token", "distillation_token", "reg_token", "register_token", "register_tokens",
    "storage_tokens",
}  # fmt: skip
_CONVOLUTION = nn.modules.conv._ConvNd
_CHANNELS_FIRST = (
    _CONVOLUTION,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
)


@dataclass(frozen=True)
class ExtraTokens:
    """What is known of a token model's class, register and prompt tokens, which lie at no position.

    Attributes:
        named: number of those that are known by name, which mostly come first.
        fixed: their places among as many tokens as the key says, as in :class:`Form`: those that no image changes
            before they meet others.
    """

    named: int
    fixed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How a tensor holds features at positions.

    Attributes:
        layout: ``"channels_first"`` (B, C, positions...) of any rank, ``"channels_last"`` (B, positions..., C) or
            ``"tokens"`` (B, N, C).
        extra: places of the tokens (class, registers) that are not positions, in their order; those at the end are
            counted from there (-1), so that images of other sizes may follow.
        grid: height and width of the tokens; None for a square where their number is one, else a column.
    """

    layout: Layout
    extra: tuple[int, ...] = ()
    grid: tuple[int, int] | None = None

    def axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths of the axes of positions of an output of this shape."""
        if self.layout == "tokens":
            return self._grid_of(shape[1] - len(self.extra))
        return shape[2:] if self.layout == "channels_first" else shape[1:-1]

    def positions(self, shape: tuple[int, ...]) -> int:
        """Number of positions of an output of this shape."""
        return math.prod(self.axes(shape))

    def to_map(self, output: Tensor) -> Tensor:
        """Show an output as (B, C, h, w), without extra tokens: a view where that is possible."""
        if self.layout == "channels_first":
            return four_axes(output)
        if self.layout == "channels_last":
            return four_axes(output.movedim(-1, 1))
        batch, count, channels = output.shape
        first = len(self.extra)
        patches = output[:, first:] if self._extra_first else output[:, self._order(count)[first:]]
        return patches.transpose(1, 2).reshape(batch, channels, *self._grid_of(count - first))

    def apply(
        self,
        function: Callable[[Tensor], Tensor],
        output: Tensor,
        to_extra: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Apply a function of (B, C, positions...) to an output in this form; tokens are (B, C, h, w).

        Convention:
            - extra tokens have no place among the positions. Together they are one further map, of a single
              position, which the function sees first: a mixture interpolates them as they stand.

        Args:
            function: maps (B, C, positions...) to the same shape, or without extra tokens to other rows and positions.
            output: of this form.
            to_extra: another function for the extra tokens' map (B, tokens C, 1, 1).

        Returns:
            Layout of ``output``, and its shape where the function keeps shapes.
        """
        if self.layout == "channels_first":
            if output.ndim < 3:  # vectors have one position
                return function(output[..., None])[..., 0]
            return function(output)  # not even a view: a checkpoint's output is known by being the same tensor
        if self.layout == "channels_last":
            return function(output.movedim(-1, 1)).movedim(1, -1)
        if not self.extra:
            return function(self.to_map(output)).flatten(2).transpose(1, 2)
        batch, count, channels = output.shape
        first = len(self.extra)
        alone = output[:, :first] if self._extra_first else output[:, list(self.extra)]
        alone = (to_extra or function)(alone.reshape(batch, -1, 1, 1)).reshape(batch, first, channels)
        mixed = torch.cat([alone, function(self.to_map(output)).flatten(2).transpose(1, 2)], dim=1)
        if self._extra_first:
            return mixed
        order = self._order(count)
        return mixed[:, sorted(range(count), key=order.__getitem__)]

    @property
    def _extra_first(self) -> bool:
        return self.extra == tuple(range(len(self.extra)))

    def _order(self, count: int) -> list[int]:
        """Places of the extra tokens and then of the positions."""
        extra = [place % count for place in self.extra]
        return [*extra, *(place for place in range(count) if place not in extra)]

    def _grid_of(self, patches: int) -> tuple[int, int]:
        if self.grid is not None and self.grid[0] * self.grid[1] == patches:
            return self.grid
        side = math.isqrt(patches)
        return (side, side) if side * side == patches else (patches, 1)


def four_axes(features: Tensor) -> Tensor:
    """Show (B, C, positions...) of any rank as (B, C, h, w)."""
    if features.ndim == 4:
        return features
    if features.ndim < 4:
        return features.reshape(*features.shape, *[1] * (4 - features.ndim))
    return features.flatten(2, -2)


def named_tokens(root: nn.Module) -> ExtraTokens:
    """Count the class and register tokens that a token model names.

    timm models say so themselves (``num_prefix_tokens``); elsewhere the learned tokens are found by name.
    """
    for module in root.modules():
        if isinstance(declared := getattr(module, "num_prefix_tokens", None), int):
            return ExtraTokens(declared)
    tokens = [p for name, p in root.named_parameters() if name.rpartition(".")[2] in _TOKEN_PARAMETERS]
    return ExtraTokens(sum(p.shape[-2] if p.ndim >= 2 else 1 for p in tokens))


def leaf_layout(module: nn.Module, shape: tuple[int, ...]) -> Layout | None:
    """Tell the layout of the output of one of torch's own layers; None for any other module or shape."""
    if len(shape) < 3:
        return None
    last: Layout = "tokens" if len(shape) == 3 else "channels_last"
    if isinstance(module, _CHANNELS_FIRST):
        return "channels_first"
    if isinstance(module, nn.LayerNorm):
        width = module.normalized_shape[-1]
        # image networks derive a channels-first LayerNorm2d from it
        if type(module) is not nn.LayerNorm and len(shape) > 3 and shape[1] == width:
            return "channels_first"
        return last if shape[-1] == width and len(module.normalized_shape) == 1 else None
    if isinstance(module, nn.Linear):
        return last if shape[-1] == module.out_features else None
    return last if isinstance(module, nn.MultiheadAttention | nn.RMSNorm | nn.Embedding | nn.RNNBase) else None


def guess_layout(module: nn.Module, shape: tuple[int, ...], before: Before | None = None) -> Layout:
    """Tell the layout of a module's output from what the module is, then from its parts, and last from the shape.

    A convolution or BatchNorm inside that is as wide as axis 1 speaks for channels first, a LayerNorm or linear layer
    as wide as the last axis for channels last. Where that does not decide, the equal axes of a square map are its
    positions, and three axes are as those of what ran before where that decides, else tokens.

    Args:
        module: the module.
        shape: of its output.
        before: layout and shape of the last output of as many axes that one of torch's own layers gave before.

    Raises:
        ValueError: the shape has fewer than three axes, or nothing decides.
    """
    if len(shape) < 3:
        raise ValueError(
            f"cannot mix an output of shape {shape}: expected (B, C, h, w), (B, h, w, C) or tokens (B, N, C)"
        )
    if (own := leaf_layout(module, shape)) is not None:
        return own
    first, last = _widths(module, len(shape))
    last_layout: Layout = "tokens" if len(shape) == 3 else "channels_last"
    if (shape[1] in first) != (shape[-1] in last):
        return "channels_first" if shape[1] in first else last_layout
    going_on = _going_on(shape, before)
    if len(shape) == 3:
        # a pooled vector (B, C, 1) has one position
        return "channels_first" if shape[2] == 1 else going_on or "tokens"
    if shape[1] != shape[2] and len(set(shape[2:])) == 1:
        return "channels_first"
    if shape[-1] != shape[-2] and len(set(shape[1:-1])) == 1:
        return "channels_last"
    if shape[1] in first and shape[-1] not in first:  # a square map as wide as its linear layers
        going_on = "channels_first"
    if going_on is not None:
        return going_on
    raise ValueError(
        f"cannot tell where the channels are in an output of shape {shape} of {type(module).__name__}: "
        "pass layout='channels_first' or layout='channels_last'"
    )


def _going_on(shape: tuple[int, ...], before: Before | None) -> Layout | None:
    """The layout of what functions without a module (pooling, slicing, joining) made of an output of a known layout.

    They mostly leave the number of channels or that of positions. Where only one order of the axes has one of them, it
    is that one; else sequences go on as they were, and nothing is told of maps. Tokens stay tokens, turned over too: a
    network that mixes positions turns them back.
    """
    if before is None:
        return None
    layout, known = before
    channels, positions = (known[1], known[2:]) if layout == "channels_first" else (known[-1], known[1:-1])
    first = shape[1] == channels or shape[2:] == positions
    last = shape[-1] == channels or shape[1:-1] == positions
    if len(shape) == 3 and (layout == "tokens" or first == last):
        return layout
    if first == last:
        return None
    return "channels_first" if first else "tokens" if len(shape) == 3 else "channels_last"


def _widths(module: nn.Module, rank: int) -> tuple[set[int], set[int]]:
    """Channels of the layers inside a module that put them on axis 1, and of those that put them last.

    Of three axes only one-dimensional convolutions speak: others are flattened into tokens.
    """
    first: set[int] = set()
    last: set[int] = set()
    for part in module.modules():
        if isinstance(part, _CONVOLUTION):
            if rank > 3 or len(part.kernel_size) == 1:
                first.add(part.out_channels)
        elif isinstance(part, nn.modules.batchnorm._NormBase):
            if rank > 3 or isinstance(part, nn.BatchNorm1d | nn.InstanceNorm1d):
                first.add(part.num_features)
        elif isinstance(part, nn.GroupNorm):
            if rank > 3:
                first.add(part.num_channels)
        elif isinstance(part, nn.LayerNorm):
            last.add(part.normalized_shape[-1])
        elif isinstance(part, nn.Linear):
            last.add(part.out_features)
    return first, last


def tell_form(layout: Layout, shape: tuple[int, ...], extra: ExtraTokens, grids: Mapping[int, tuple[int, int]]) -> Form:
    """Complete the layout of an output: which tokens are positions, and how they lie.

    ``extra`` is what is known of the model's class and register tokens. ``grids`` gives height and width of the
    convolutional maps that came before, by their number of positions.
    """
    if layout != "tokens":
        return Form(layout)
    count = shape[1]
    if count in extra.fixed:
        return Form(layout, extra.fixed[count], grids.get(count - len(extra.fixed[count])))
    prefix = extra.named
    if prefix and ((count in grids) == (count - prefix in grids)):
        prefix = _prefix_in(count, prefix)
    elif count in grids:  # a patch embedding comes before the class token is added
        prefix = 0
    return Form(layout, tuple(range(prefix)), grids.get(count - prefix))


def _prefix_in(count: int, prefix: int) -> int:
    """Tell whether this output carries the prefix, from its number of tokens alone: patches mostly fill a square."""
    is_square = math.isqrt(count) ** 2 == count
    is_square_without = count > prefix and math.isqrt(count - prefix) ** 2 == count - prefix
    return 0 if count <= prefix or (is_square and not is_square_without) else prefix
