"""FeatureTap: permanent hooks that apply a function to a layer's output while a batch is live."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from alignmixup.taps.layout import Layout, apply_in_layout, count_prefix_tokens, guess_layout

Hidden = Callable[[Tensor], Tensor]
"""A pure function of a feature map (B, C, h, w); a ``functools.partial`` of a module-level function compiles best."""


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own model inside DistributedDataParallel and torch.compile wrappers.

    Raises:
        TypeError: ``nn.DataParallel``, whose replicas share one hook state across threads.
    """
    while True:
        if isinstance(model, nn.DataParallel):
            raise TypeError("nn.DataParallel is not supported: use DistributedDataParallel (one process per device)")
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


class _LayerHook:
    """The hook of one layer. It stays on the layer for good: hooks that come and go vanish under torch.compile."""

    def __init__(self, tap: "FeatureTap", name: str, layout: Layout | None) -> None:
        self.tap = tap
        self.name = name
        self.layout = layout
        self.reached = False

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        function = self.tap.live(self.name)
        if function is None:
            return None
        self.reached = True
        if isinstance(output, tuple | list):  # e.g. (features, attention weights): the features come first
            return type(output)([self._apply(function, module, output[0]), *output[1:]])
        return self._apply(function, module, output)

    def _apply(self, function: Hidden, module: nn.Module, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"layer '{self.name}' returns {type(output).__name__}: mixing needs a tensor; choose another"
            )
        layout = self.layout or guess_layout(module, tuple(output.shape))
        return apply_in_layout(function, output, layout, self.tap.prefix_tokens)


class FeatureTap:
    """Applies functions to the outputs of named layers of one model, inside a ``with`` block of a batch.

    There is one tap per model (:meth:`of`). A hook, once attached, stays; what it does is decided by the top of a
    stack of ``{layer name: function}``. Without a live entry, and whenever the model is in eval mode, hooks do
    nothing. The tap knows no mixer and no generator; copies of the model (EMA, pickles) get an empty stack.

    Args:
        root: the unwrapped model.
    """

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.prefix_tokens = count_prefix_tokens(root)
        self.hooks: dict[str, _LayerHook] = {}
        self._stack: list[Mapping[str, Hidden]] = []
        self._outer_reached: list[dict[str, bool]] = []

    @classmethod
    def of(cls, model: nn.Module) -> "FeatureTap":
        """Return the tap of a model (wrapped or not), making it at the first call."""
        root = unwrap(model)
        # kept in the model's own __dict__, so that a copy of the model gets a copy of the tap, bound to the copy
        tap = root.__dict__.setdefault("_feature_tap", None) or cls(root)
        root.__dict__["_feature_tap"] = tap
        return cast(FeatureTap, tap)

    def attach(self, layer: str | nn.Module, layout: Layout | None = None) -> str:
        """Put the permanent hook on a layer, once, before the model is compiled or first run compiled.

        Args:
            layer: dotted name as in ``model.named_modules()``, or the module itself.
            layout: layout of the layer's output; None tells it from shape and module.

        Returns:
            The layer's dotted name.

        Raises:
            ValueError: no such layer; near names are listed.
        """
        name = self._resolve(layer)
        if name not in self.hooks:
            self.hooks[name] = _LayerHook(self, name, layout)
            self.root.get_submodule(name).register_forward_hook(self.hooks[name])
        elif layout is not None:
            self.hooks[name].layout = layout
        return name

    def live(self, name: str) -> Hidden | None:
        """Return the function that applies to a layer now: None in eval mode or outside a block."""
        if not self._stack or not self.root.training:
            return None
        return self._stack[-1].get(name)

    def push(self, hidden: Mapping[str, Hidden]) -> None:
        """Make functions live; they shadow those of an enclosing block."""
        self._outer_reached.append({name: hook.reached for name, hook in self.hooks.items()})
        for name in hidden:
            self.hooks[name].reached = False
        self._stack.append(hidden)

    def pop(self, *, check: bool) -> None:
        """End the innermost block.

        Raises:
            RuntimeError: ``check`` is set and a layer of the block was never reached.
        """
        missed = [name for name in self._stack.pop() if not self.hooks[name].reached]
        for name, reached in self._outer_reached.pop().items():
            self.hooks[name].reached = reached
        if check and missed:
            raise RuntimeError(
                f"the targets are mixed but layer {', '.join(map(repr, missed))} never ran in training mode inside the "
                "`with mixer(x, y) as batch:` block: call model(batch.x) inside it with model.train(); with "
                "torch.compile, build the mixer before the model is first run"
            )

    @property
    def depth(self) -> int:
        """Number of live blocks."""
        return len(self._stack)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stack": [], "_outer_reached": []}

    def _resolve(self, layer: str | nn.Module) -> str:
        names: dict[nn.Module, str] = {module: name for name, module in self.root.named_modules()}
        if isinstance(layer, nn.Module):
            if not names.get(layer):
                raise ValueError(
                    f"the given {type(layer).__name__} is not a layer inside this {type(self.root).__name__}"
                )
            return names[layer]
        known = [name for name in names.values() if name]
        if layer not in known:
            near = difflib.get_close_matches(str(layer), known, n=5, cutoff=0.5) or known[:8]
            raise ValueError(
                f"no layer {layer!r} in {type(self.root).__name__}; near names: {', '.join(map(repr, near))} "
                "(see model.named_modules())"
            )
        return layer
