"""FeatureTap: hooks that apply a function to a layer's output while a batch is live; Attachment: one user's hooks."""

import contextlib
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.near import near
from alignmixup.taps.caller import runs_for
from alignmixup.taps.layout import ExtraTokens, Form, Layout, guess_layout, named_tokens, tell_form
from alignmixup.taps.outputs import map_tensors
from alignmixup.taps.recomputation import Recomputation

_logger = logging.getLogger(__name__)
_NO_REPLICAS = "nn.DataParallel is not supported: use DistributedDataParallel (one process per device)"
Hidden = Callable[[Tensor], Tensor]
"""A pure function of a feature map (B, C, positions...); a partial of a module-level function compiles best."""


@dataclass(frozen=True, eq=False)
class LayerMix:
    """What is done to a layer's output: to each tensor in it.

    Attributes:
        function: pure function of a feature map (B, C, positions...), or of any shape with ``whole``.
        forms: how each tensor holds its positions, where that is known.
        layout: of the tensors where ``forms`` is empty; None tells it from the module.
        whole: the function takes tensors as they stand.
        looks: the function takes the layer itself and its first input, and changes nothing.
        rows: whether each tensor has a row for each example, where that is known; others stay as they are.
    """

    function: Callable[..., Any]
    forms: tuple[Form | None, ...] = ()
    layout: Layout | None = None
    whole: bool = False
    looks: bool = False
    rows: tuple[bool, ...] = ()


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own model inside DistributedDataParallel and torch.compile wrappers.

    Raises:
        TypeError: ``nn.DataParallel``, whose replicas share one hook state across threads.
    """
    while True:
        if isinstance(model, nn.DataParallel):
            raise TypeError(_NO_REPLICAS)
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


class _LayerHook:
    """The hook of one layer. It stays while anybody uses it: hooks that come and go vanish under torch.compile."""

    def __init__(self, tap: "FeatureTap", name: str) -> None:
        self.tap = tap
        self.name = name
        self.reached = False
        self.users = 0
        self.handle: Any = None
        self.recomputation = Recomputation(name)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        mix = self.tap.live(self.name)
        if mix is not None and getattr(module, "_is_replica", False):
            raise TypeError(_NO_REPLICAS)
        if not torch.compiler.is_compiling():
            mix = mix if mix is not None and runs_for(self.tap.root) else None
            self.recomputation.before(mix)
            if mix is None:
                self.recomputation.after(None, output, self._is_live)
        if mix is None:
            return None
        self.reached = True
        if mix.looks:
            mix.function(module, args[0])
            return None
        mixed = _mixed(mix, module, output, self.name, self.tap.tokens)
        if not torch.compiler.is_compiling():
            self.recomputation.after(mix, mixed, self._is_live)
        return mixed

    def attach(self) -> None:
        """Put the hook on its layer."""
        self.handle = self.tap.root.get_submodule(self.name).register_forward_hook(self)

    def come_last(self) -> None:
        """Run behind hooks that came later: one that makes the output anew would undo what was mixed."""
        hooks = self.handle.hooks_dict_ref()  # of the module itself: a wrapper may stand under its name meanwhile
        if hooks and next(reversed(hooks)) != self.handle.id:
            hooks[self.handle.id] = hooks.pop(self.handle.id)

    def is_on(self, module: nn.Module) -> bool:
        """Tell whether this is a hook of a module."""
        return self.handle.hooks_dict_ref() is module._forward_hooks

    def _is_live(self, mix: object | None) -> bool:
        return self.tap.live(self.name) is mix

    def __reduce__(self) -> tuple[Any, ...]:
        return idle_hook()


def idle_hook() -> tuple[Any, ...]:
    """Say how a hook is copied and pickled: as one that does nothing.

    The copy loads where this package is not installed: a method of the standard library that takes any arguments and
    returns None.
    """
    return getattr, (contextlib.nullcontext(), "__exit__")


def _mixed(mix: LayerMix, module: nn.Module, output: Any, name: str, tokens: ExtraTokens) -> Any:
    """Mix what a layer returned: the tensor, or every tensor with the batch axis of the first.

    Raises:
        TypeError: there is no tensor.
    """
    if isinstance(output, Tensor):
        return _mixed_tensor(mix, mix.forms[0] if mix.forms else None, module, output, tokens)
    rows: list[int] = []
    known, has_rows = list(mix.forms), list(mix.rows)

    def visit(tensor: Tensor) -> Tensor:
        if has_rows and not has_rows.pop(0):  # a table of positions may have as many rows as the batch
            return tensor
        rows.append(tensor.shape[0])
        if tensor.shape[0] != rows[0]:
            return tensor
        form = known.pop(0) if known else None
        if tensor.ndim < 3:  # vectors have no positions to align
            form = Form("channels_first")
        return _mixed_tensor(mix, form, module, tensor, tokens)

    mixed = map_tensors(visit, output)
    if not rows:
        raise TypeError(f"layer '{name}' returns {type(output).__name__}: mixing needs a tensor; choose another")
    return mixed


def _mixed_tensor(mix: LayerMix, form: Form | None, module: nn.Module, tensor: Tensor, tokens: ExtraTokens) -> Tensor:
    if mix.whole:
        whole: Tensor = mix.function(tensor)
        return whole
    if form is None:
        shape = tuple(tensor.shape)
        form = tell_form(mix.layout or guess_layout(module, shape), shape, tokens, {})
    mixed = form.apply(mix.function, tensor)
    # a view made without gradients could not be changed in place with them, behind a backbone under no_grad
    return mixed if mixed is tensor or torch.is_grad_enabled() else mixed.detach()


@dataclass(frozen=True, eq=False)
class _Block:
    """A ``with`` block: what it was entered with, what applies in it, and which layers ran in the one around it."""

    hidden: Mapping[str, Any]
    mixes: dict[str, LayerMix]
    outer_reached: dict[str, bool]


class FeatureTap:
    """Applies functions to the outputs of named layers of one model, inside a ``with`` block of a batch.

    There is one tap per model (:meth:`of`), beside the model and not in it. What a hook does is decided by the top of
    a stack of ``{layer name: function}``. Without a live entry, and whenever the model is in eval mode, hooks do
    nothing. The tap knows no mixer and no generator; copies of the model (EMA, pickles) have idle hooks.

    Args:
        root: the unwrapped model.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = weakref.ref(root)
        self.tokens = named_tokens(root)
        self.hooks: dict[str, _LayerHook] = {}
        self._stack: list[_Block] = []
        self._told = False

    @classmethod
    def of(cls, model: nn.Module) -> "FeatureTap":
        """Return the tap of a model (wrapped or not), making it at the first call."""
        root = unwrap(model)
        if root not in _TAPS:
            _TAPS[root] = cls(root)
        return _TAPS[root]

    @property
    def root(self) -> nn.Module:
        """The unwrapped model."""
        root = self._root()
        assert root is not None
        return root

    def attach(self, name: str) -> None:
        """Put the hook on a layer, before the model is compiled or first run compiled; it counts its users."""
        if name not in self.hooks:
            if isinstance(self.root.get_submodule(name), torch.jit.ScriptModule):
                raise TypeError(f"layer {name!r} is a ScriptModule, which takes no hooks: mix before it is scripted")
            hook = _LayerHook(self, name)
            hook.attach()
            self.hooks[name] = hook
        self.hooks[name].users += 1

    def release(self, name: str) -> None:
        """Take a layer's hook off once its last user lets it go."""
        hook = self.hooks[name]
        hook.users -= 1
        if not hook.users:
            del self.hooks[name]
            hook.handle.remove()

    def live(self, name: str) -> LayerMix | None:
        """Return what applies to a layer now: None in eval mode or outside a block."""
        if not self._stack or not self.root.training:
            return None
        return self._stack[-1].mixes.get(name)

    def push(self, hidden: Mapping[str, Hidden | LayerMix]) -> None:
        """Make functions live; they shadow those of an enclosing block."""
        if lost := [name for name in hidden if name not in self.hooks]:
            names = ", ".join(map(repr, lost))
            raise RuntimeError(f"the hook of layer {names} is gone: its mixer was detached, build another one")
        outer_reached = {name: hook.reached for name, hook in self.hooks.items()}
        for name in hidden:
            self.hooks[name].reached = False
            self.hooks[name].come_last()
        mixes = {name: mix if isinstance(mix, LayerMix) else LayerMix(mix) for name, mix in hidden.items()}
        self._stack.append(_Block(hidden, mixes, outer_reached))

    def inform(self, forms: Mapping[str, tuple[Form | None, ...]], rows: Mapping[str, tuple[bool, ...]]) -> None:
        """Tell the innermost block what its layers return, which was not known when it began."""
        mixes = self._stack[-1].mixes
        for name, mix in mixes.items():
            mixes[name] = replace(mix, forms=forms.get(name, ()), rows=rows.get(name, ()))

    def pop(self, hidden: Mapping[str, Hidden | LayerMix], *, check: bool) -> None:
        """End the block of these functions: the innermost.

        Raises:
            RuntimeError: it is not the innermost; or ``check`` is set and a layer of the block was never reached.
        """
        place = next(i for i, block in reversed([*enumerate(self._stack)]) if block.hidden is hidden)
        block = self._stack.pop(place)
        if place < len(self._stack):
            raise RuntimeError("a block ended before one that began inside it: blocks of one model are nested")
        missed = [name for name in block.mixes if name in self.hooks and not self.hooks[name].reached]
        for name, reached in block.outer_reached.items():
            if name in self.hooks:
                self.hooks[name].reached = reached
        if check and missed:
            raise RuntimeError(
                f"the targets are mixed but layer {', '.join(map(repr, missed))} never ran in training mode inside the "
                "`with mixer(x, y) as batch:` block: call model(batch.x) inside it with model.train(), where model is "
                "the one that the mixer was built on and no copy of it, with the layers that it had then; with "
                "torch.compile, build the mixer before the model is first run"
            )

    def tell_never_entered(self) -> None:
        """Warn, once for a model, of a batch that was dropped and whose functions were never live."""
        if not self._told:
            self._told = True
            _logger.warning(
                "a batch that is mixed inside the model was dropped, and its block was never entered: its labels are "
                "mixed and its features are not; write `with mixer(x, y) as batch: loss = batch.loss(model(batch.x), "
                "criterion); loss.backward()`"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureTap.of, (self.root,)

    def place(self, name: str) -> str:
        """Tell what a layer is called now: something may stand around it since it was named, under its old name.

        The name itself where the layer is gone.
        """
        root, hook = self.root, self.hooks[name]
        with contextlib.suppress(AttributeError):
            if hook.is_on(root.get_submodule(name)):
                return name
        return next((now for now, module in root.named_modules() if hook.is_on(module)), name)

    @property
    def depth(self) -> int:
        """Number of live blocks."""
        return len(self._stack)

    def resolve(self, layer: str | nn.Module) -> str:
        """Return a layer's dotted name: the first, where a module has several.

        Args:
            layer: dotted name as in ``model.named_modules()``, or the module itself.

        Raises:
            ValueError: no such layer; near names are listed.
        """
        root = self.root
        names: dict[nn.Module, str] = {module: name for name, module in root.named_modules() if name}
        if isinstance(layer, nn.Module):
            if layer not in names:
                raise ValueError(f"the given {type(layer).__name__} is not a layer inside this {type(root).__name__}")
            return names[layer]
        known = {name: module for name, module in root.named_modules(remove_duplicate=False) if name}
        if layer not in known:
            raise ValueError(
                f"no layer {layer!r} in {type(root).__name__} (see model.named_modules()): {near(str(layer), known)}"
            )
        return names[known[layer]]


_TAPS: "weakref.WeakKeyDictionary[nn.Module, FeatureTap]" = weakref.WeakKeyDictionary()


class Attachment:
    """The hooks of one user of a model. They go when it lets them go, or is itself forgotten.

    Args:
        model: wrapped or not.
        names: layers to attach to at once.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...] = ()) -> None:
        self.root = unwrap(model)
        self.tap = FeatureTap.of(self.root)
        self.blocks = 0  # that ended in training mode
        self._names: list[str] = []
        self._handles: list[Any] = []
        self._finalizer = weakref.finalize(self, _release, self.tap, self._names, self._handles)
        self._finalizer.atexit = False
        for name in names:
            self.attach(name)

    def attach(self, layer: str | nn.Module) -> str:
        """Put a hook on a layer, once, and return its dotted name; see :meth:`FeatureTap.resolve` for errors."""
        if not self.is_live:
            raise RuntimeError("this mixer was detached from its model: build another one")
        name = self.tap.resolve(layer)
        if name not in self._names:
            self.tap.attach(name)
            self._names.append(name)
        return name

    def places(self) -> dict[str, str]:
        """What the layers with hooks are called now, by the names that they had; see :meth:`FeatureTap.place`."""
        return {name: self.tap.place(name) for name in self._names}

    def on_forward(self, hook: Callable[..., Any]) -> Any:
        """Put a hook ``(model, args, kwargs)`` before the model's forward, and return its handle."""
        self._handles.append(self.root.register_forward_pre_hook(hook, with_kwargs=True))
        return self._handles[-1]

    @property
    def is_live(self) -> bool:
        """The hooks were not taken off."""
        return self._finalizer.alive

    def push(self, hidden: Mapping[str, Hidden | LayerMix]) -> None:
        """See :meth:`FeatureTap.push`."""
        self.tap.push(hidden)

    def pop(self, hidden: Mapping[str, Hidden | LayerMix], *, check: bool) -> None:
        """See :meth:`FeatureTap.pop`."""
        self.tap.pop(hidden, check=check)
        self.blocks += check and self.root.training

    def tell_never_entered(self) -> None:
        """See :meth:`FeatureTap.tell_never_entered`."""
        self.tap.tell_never_entered()

    def release(self) -> None:
        """Take the hooks off, but for those that others use."""
        self._finalizer()

    def __reduce__(self) -> tuple[Any, ...]:
        return Attachment, (self.root, tuple(self._names))


def _release(tap: FeatureTap, names: list[str], handles: list[Any]) -> None:
    while names:
        tap.release(names.pop())
    while handles:
        handles.pop().remove()
