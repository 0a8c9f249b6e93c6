"""One look at a model with a sample: which layers could be mixed, and what the classifier reads from one of them."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from alignmixup.taps.layout import Layout, apply_in_layout, count_prefix_tokens, guess_layout

LayerUse = Literal["positions", "mean", "nothing"]


@contextmanager
def evaluating(root: nn.Module) -> Iterator[None]:
    """Put every submodule in eval mode without gradients and restore each one's own training flag afterwards."""
    flags = {module: module.training for module in root.modules()}
    root.eval()
    try:
        # a compiled model is not traced for this look, and its warnings (checkpointing without gradients) mean nothing
        with warnings.catch_warnings(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, training in flags.items():
            module.training = training


@dataclass(frozen=True)
class SeenLayer:
    """A layer whose output carries several positions.

    Attributes:
        name: dotted name.
        shape: shape of its output.
        kind: name of the module's class.
        parameters: number of its parameters.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    parameters: int

    @property
    def depth(self) -> int:
        """Number of modules around it, inside the model."""
        return self.name.count(".")


@dataclass(frozen=True)
class Probe:
    """Layers of a model that carry positions, in the order in which they end.

    Attributes:
        layers: the layers.
        prefix_tokens: class and register tokens of a token model.
    """

    layers: tuple[SeenLayer, ...]
    prefix_tokens: int

    @property
    def is_token_model(self) -> bool:
        """The last layer with positions holds tokens (B, N, C)."""
        return len(self.layers[-1].shape) == 3

    def last(self) -> str:
        """Name the last map; in a model with class or register tokens, the middle block.

        Those tokens are left alone, so the blocks after the mixed one must carry the mixture to them.
        """
        if self.is_token_model and self.prefix_tokens:
            blocks = self.blocks()
            return blocks[(len(blocks) - 1) // 2]
        return self.layers[-1].name

    def early(self) -> tuple[str, ...]:
        """Name two early stages, as Manifold mixup uses them: the ends of the first two of the last four resolutions.

        In a token model these are the blocks at a quarter and at half of the depth.
        """
        if self.is_token_model:
            blocks = self.blocks()
            return tuple(dict.fromkeys(blocks[(len(blocks) - 1) * k // 4] for k in (1, 2)))
        ends: dict[int, SeenLayer] = {}
        for layer in self.layers:
            end = ends.get(_positions(layer.shape))
            # the outermost module: a pre-activation block's first BatchNorm still has the stage before's resolution
            if len(layer.shape) == 4 and (end is None or layer.depth <= end.depth):
                ends[_positions(layer.shape)] = layer
        stages = list(ends.values())[-4:]
        return tuple(stage.name for stage in stages[: 2 if len(stages) > 2 else 1])

    def blocks(self) -> list[str]:
        """Name the transformer's blocks: the siblings of one class that together hold the most parameters."""
        families: dict[tuple[str, str], list[SeenLayer]] = {}
        for layer in self.layers:
            if len(layer.shape) == 3:
                families.setdefault((layer.name.rpartition(".")[0], layer.kind), []).append(layer)
        siblings = [family for family in families.values() if len(family) > 1] or list(families.values())
        largest = max(siblings, key=lambda family: sum(layer.parameters for layer in family))
        return [layer.name for layer in largest]


def _positions(shape: tuple[int, ...]) -> int:
    """Count positions; a four-axis shape holds h, w and C in some order, and h = w."""
    if len(shape) == 3:
        return shape[1]
    _, one, two, three = shape
    return one * two if one == two != three else two * three


def _sample(x: Tensor) -> Tensor:
    """Take two examples: one cannot tell a batch axis of 1 from a singleton."""
    return x[:2] if x.shape[0] > 1 else torch.cat([x, x])


def probe(root: nn.Module, x: Tensor) -> Probe:
    """Run two examples through the model, in eval mode, and list the layers that could be mixed.

    Args:
        root: the unwrapped model.
        x: (B, ...) a batch as the model takes it.

    Raises:
        ValueError: no layer has an output with several positions.
    """
    seen: list[SeenLayer] = []
    sample = _sample(x)

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(output, Tensor) and output.ndim in (3, 4) and output.shape[0] == sample.shape[0]:
                shape = tuple(output.shape)
                if _positions(shape) > 1:
                    count = sum(p.numel() for p in module.parameters())
                    seen.append(SeenLayer(name, shape, type(module).__name__, count))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in root.named_modules() if name]
    try:
        with evaluating(root):
            root(sample)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ValueError(
            f"no layer of {type(root).__name__} has an output with several positions at input shape {tuple(x.shape)}: "
            "name one with layer=..., or use larger images"
        )
    return Probe(tuple(seen), count_prefix_tokens(root))


def feature_maps(root: nn.Module, x: Tensor, names: Iterable[str], layout: Layout | None = None) -> dict[str, Tensor]:
    """Run images through the model, in eval mode and without gradients, and return the maps of some layers.

    Args:
        root: the unwrapped model.
        x: (B, ...) a batch as the model takes it.
        names: dotted names of the layers.
        layout: layout of their outputs; None tells it from shape and module.

    Returns:
        layer name -> (B, C, h, w), as mixing functions see it, in the order in which the layers end.

    Raises:
        ValueError: the model does not run one of the layers.
    """
    prefix = count_prefix_tokens(root)
    maps: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) else output

            def keep(features: Tensor) -> Tensor:
                maps[name] = features
                return features

            apply_in_layout(keep, first, layout or guess_layout(module, tuple(first.shape)), prefix)

        return hook

    handles = {name: root.get_submodule(name).register_forward_hook(note(name)) for name in names}
    try:
        with evaluating(root):
            root(x)
    finally:
        for handle in handles.values():
            handle.remove()
    if missed := [name for name in handles if name not in maps]:
        raise ValueError(f"{type(root).__name__} never runs layer {', '.join(map(repr, missed))}: name another one")
    return maps


def _read_by_head(root: nn.Module, sample: Tensor) -> Tensor:
    """Run the model and return what its last linear layer reads: a head that starts at zero hides everything.

    Without a linear layer the output of the model is returned.
    """
    read: list[Tensor] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        read[:] = [args[0]]

    handles = [m.register_forward_pre_hook(note) for m in root.modules() if isinstance(m, nn.Linear)]
    try:
        output = root(sample)
    finally:
        for handle in handles:
            handle.remove()
    if read:
        return read[0].float()
    return (output if isinstance(output, Tensor) else output[0]).float()


def layer_use(root: nn.Module, x: Tensor, name: str, layout: Layout | None = None) -> LayerUse:
    """Find out what the rest of the model reads from a layer, by asking the model.

    The layer's output is replaced by noise around itself, and then by the spatial mean of that: if the first
    changes nothing the layer does not reach the classifier, if the second changes nothing only the mean is read.
    In the second case alignment cancels: a transport plan with uniform marginals keeps the mean.

    Args:
        root: the unwrapped model.
        x: (B, ...) a batch as the model takes it.
        name: dotted name of the layer.
        layout: layout of its output; None tells it from shape and module.

    Returns:
        What reaches the classifier: each position's features, only their mean, or nothing at this layer.
    """
    module = root.get_submodule(name)
    prefix = count_prefix_tokens(root)
    generator = torch.Generator()

    def noisy(features: Tensor) -> Tensor:
        noise = torch.randn(features.shape, generator=generator.manual_seed(0)).to(features)
        return features + noise * features.std().clamp_min(1e-3)

    def averaged(features: Tensor) -> Tensor:
        return noisy(features).mean(dim=(2, 3), keepdim=True).expand_as(features)

    def run(function: Callable[[Tensor], Tensor]) -> Tensor:
        def hook(_: nn.Module, args: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple | list) else output
            form = layout or guess_layout(module, tuple(first.shape))
            new = apply_in_layout(function, first, form, prefix)
            return type(output)([new, *output[1:]]) if isinstance(output, tuple | list) else new

        handle = module.register_forward_hook(hook)
        try:
            return _read_by_head(root, _sample(x))
        finally:
            handle.remove()

    with evaluating(root):
        clean, noise, mean = _read_by_head(root, _sample(x)), run(noisy), run(averaged)
    scale = (noise - clean).abs().max()
    if scale <= 1e-6 * clean.abs().max():
        return "nothing"
    # 2 %: above the rounding of a half-precision model, far below what a layer that reads positions shows
    return "mean" if (noise - mean).abs().max() <= 0.02 * scale else "positions"
