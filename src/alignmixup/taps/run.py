"""One model and one batch to look at it with: what its layers return, and what edits of these do to its logits."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from alignmixup.taps.layout import (
    Before,
    ExtraTokens,
    Form,
    Layout,
    guess_layout,
    leaf_layout,
    named_tokens,
    tell_form,
)
from alignmixup.taps.outputs import logits_of, map_tensors, tensors_of
from alignmixup.taps.quiet import Training, looking
from alignmixup.taps.sample import Inputs
from alignmixup.taps.tokens import extra_tokens

LayerUse = Literal["positions", "mean", "nothing"]
Edit = Literal["swap", "noise", "mean"]
_EXACT = 1e-3  # rounding of a share; half precision is measured
_MOST_NOISE = 0.1  # more than this equal examples may not differ: half precision does by less
# How to look: reveal parameters that hide a path, images as they are; else images with noise; else nothing revealed.
_WAYS = ((True, False), (True, True), (False, False), (False, True))
# Whose training flags stay: of all that has parts, as in training; else, where that draws, of less.
_TRAINING: tuple[Training, ...] = ("containers", "model", "none")


class NotCallableError(Exception):
    """The model raised when it was called to be looked at."""


class UndecidedError(ValueError):
    """The model's logits do not tell what passes through a layer."""


def told(share: float) -> str:
    """Write the share of a layer that is refused: never as the 1.000 of a cut."""
    text = f"{share:.3f}"
    return f"{share:.6f}" if text == "1.000" else text


@dataclass(frozen=True)
class SeenLayer:
    """What a layer returned.

    Attributes:
        name: dotted name.
        shapes: shapes of its tensors.
        kind: name of the module's class.
        parameters: number of its parameters.
        forms: how each tensor holds its positions; None where nothing tells.
        is_last_part: the module around it returns the very same.
        rows: of all tensors in its output, whether they have a row for each example; the others hold no features.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    kind: str
    parameters: int
    forms: tuple[Form | None, ...]
    is_last_part: bool
    rows: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first tensor."""
        return self.shapes[0]

    @property
    def depth(self) -> int:
        """Number of modules around it, inside the model."""
        return self.name.count(".")

    @property
    def positions(self) -> int:
        """Most positions of a tensor; 1 where no layout is known."""
        return max(
            (
                form.positions(shape)
                for form, shape in zip(self.forms, self.shapes, strict=True)
                # a single channel holds no features
                if form is not None and len(shape) > 2 and shape[1 if form.layout == "channels_first" else -1] > 1
            ),
            default=1,
        )


class Run:
    """Looks at a model with two examples of a batch, without a trace on it.

    Args:
        root: the unwrapped model.
        inputs: what it is called with.
        layout: layout of all its layers' outputs; None tells it for each.

    Attributes:
        layers: what ran once in a forward, in the order in which it ended.
        calls: how often each layer ran in one forward.

    Raises:
        NotCallableError: the model raised.
        UndecidedError: it gives the same logits for different images, or none that are finite.
        ValueError: it has no values yet.
    """

    def __init__(self, root: nn.Module, inputs: Inputs, layout: Layout | None = None) -> None:
        self.root, self.inputs, self._layout = root, inputs, layout
        self.calls: Counter[str] = Counter()
        self._ends: list[tuple[str, nn.Module, tuple[tuple[int, ...], ...], tuple[bool, ...]]] = []
        self._last: Any = None
        self._last_parts: set[str] = set()
        for name, tensor in chain(root.named_parameters(), root.named_buffers()):
            if nn.parameter.is_lazy(tensor) or tensor.is_meta:
                raise ValueError(
                    f"{name!r} of {type(root).__name__} has no values yet, so no layer can be looked at: run one batch "
                    "through a lazy model, and load one that is on the meta device, before the first mixed batch"
                )
        self._training: Training = _TRAINING[0]
        for self._way in _WAYS:
            logits = self._first()
            gap = (logits[0] - logits[1]).abs().max()
            if bool(logits.isfinite().all()) and gap > 1e-6 * logits.abs().max():
                break
        else:
            raise UndecidedError(
                f"nothing can be told about the layers of {type(root).__name__}: it gives the same finite logits for "
                "two different images, or none that are finite; carry_test=False mixes at named layers without a proof"
            )
        self._leave_out_tables()
        self.layers = tuple(self._seen(named_tokens(root)))
        if any(form is not None and form.layout == "tokens" for layer in self.layers for form in layer.forms):
            extra = extra_tokens(root, inputs, reveal=self._way[0], training=self._training)
            self.layers = tuple(self._seen(extra))

    def _first(self) -> Tensor:
        """Run the two examples and note what runs; fewer modules keep their training flags where one draws."""
        most: Counter[str] = Counter()
        for training in _TRAINING[_TRAINING.index(self._training) :]:
            self._training = training
            most |= self.calls  # a layer may run several times in training only
            self.calls.clear()
            self._ends.clear()
            handles = [
                module.register_forward_hook(self._noting(name))
                for name, module in self.root.named_modules()
                if name and not isinstance(module, torch.jit.ScriptModule)  # which take no hooks
            ]
            try:
                logits = self._logits(1)
            finally:
                for handle in handles:
                    handle.remove()
                self._last = None
            if not self._drew:
                break
        self.calls |= most
        return logits

    def trial(self, edits: Sequence[tuple[str, Edit]]) -> "Trial":
        """Run the model once, with two rows for each edit of a layer's output, and see what comes out."""
        rows = 2 * (len(edits) + 2)
        wanted: dict[str, list[tuple[slice, Edit]]] = {}
        for number, (name, edit) in enumerate(edits, 1):
            wanted.setdefault(name, []).append((slice(2 * number, 2 * number + 2), edit))
        known = {layer.name: layer for layer in self.layers}
        unmixable: set[str] = set(wanted)

        def editing(name: str) -> Callable[..., Any]:
            def hook(module: nn.Module, args: Any, output: Any) -> Any:
                layer = known.get(name)
                forms, has_rows = iter(layer.forms if layer else ()), iter(layer.rows if layer else ())

                def change(tensor: Tensor) -> Tensor:
                    if not next(has_rows, True) or tensor.shape[0] != rows:
                        return tensor
                    form = next(forms, None)
                    unmixable.discard(name)
                    tensor = tensor.clone()
                    for part, edit in wanted[name]:
                        tensor[part] = _edited(tensor[part], edit, form)
                    return tensor

                return map_tensors(change, output)

            return hook

        handles = [self.root.get_submodule(name).register_forward_hook(editing(name)) for name in wanted]
        try:
            logits = self._logits(rows // 2)
        finally:
            for handle in handles:
                handle.remove()
        trial = Trial(logits.view(rows // 2, 2, -1), frozenset(unmixable))
        if trial.noise > _MOST_NOISE:
            raise UndecidedError(
                f"nothing can be told about the layers of {type(self.root).__name__}: its logits are random in eval "
                f"mode too (of two equal images they differ by {trial.noise:.2g} of what two different ones do); "
                "carry_test=False mixes at named layers without a proof"
            )
        return trial

    def trains_as_proved(self, name: str) -> bool:
        """Tell whether a layer that was found a cut is one in training too, where draws kept training from the look.

        With the same draws again, the layer gives what it gave when the images of each pair stood swapped, and the
        logits must be those of then. Where it does so for half of the rows, those of the others must stay.
        """
        if self._training == "containers":  # nothing was kept from it
            return True
        layer, rows = self.find(name), 8
        seen: list[Tensor] = []

        def passing(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
            def hook(module: nn.Module, args: Any, output: Any) -> Any:
                has_rows = iter(layer.rows if layer else ())
                return map_tensors(lambda tensor: change(tensor) if next(has_rows, True) else tensor, output)

            return hook

        def note(tensor: Tensor) -> Tensor:
            seen.append(tensor.clone())
            return tensor

        def patch(count: int) -> Callable[[Tensor], Tensor]:
            before = iter(seen)
            return lambda tensor: torch.cat((next(before)[:count], tensor[count:]))

        def run(change: Callable[[Tensor], Tensor], *, swapped: bool = False) -> Tensor:
            handle = self.root.get_submodule(name).register_forward_hook(passing(change))
            try:
                return self._logits(rows // 2, training="containers", swapped=swapped)
            finally:
                handle.remove()

        clean, again = (run(lambda tensor: tensor) for _ in range(2))
        swapped = run(note, swapped=True)
        gap = (swapped - clean).norm()
        if (again - clean).norm() > _EXACT * gap:  # draws that cannot be had again tell nothing
            return True
        whole, half = run(patch(rows)), run(patch(rows // 2))
        expected = torch.cat((swapped[: rows // 2], clean[rows // 2 :]))
        # batch statistics of other draws change all rows a little
        return bool((whole - swapped).norm() <= 10 * _EXACT * gap and (half - expected).norm() <= 0.3 * gap)

    def find(self, name: str) -> SeenLayer | None:
        """What a layer returned; None if it did not run just once, or returned no tensor."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def _logits(self, count: int, *, training: Training | None = None, swapped: bool = False) -> Tensor:
        reveal, noise = self._way
        args, kwargs = self.inputs.pairs(count, noise=noise, swapped=swapped)
        with looking(self.root, reveal=reveal, training=training or self._training) as drew:
            try:
                output = self.root(*args, **kwargs)
            except Exception as error:
                raise NotCallableError(f"{type(error).__name__}: {error}") from error
            self._drew = drew()
        return logits_of(type(self.root).__name__, output, 2 * count).double().flatten(1)

    def _leave_out_tables(self) -> None:
        """Of layers that return several tensors, take those for rows of examples that grow with the batch.

        A table, as of two coordinates, may have two rows as well.
        """
        several = {name: module for name, module, _, rows in self._ends if sum(rows) > 1}
        if not several:
            return
        grown: dict[str, list[bool]] = {}

        def noting(name: str) -> Callable[..., None]:
            return lambda module, args, output: grown.update({name: [t.shape[0] == 4 for t in tensors_of(output)]})

        handles = [module.register_forward_hook(noting(name)) for name, module in several.items()]
        try:
            self._logits(2)
        finally:
            for handle in handles:
                handle.remove()
        for place, (name, module, shapes, rows) in enumerate(self._ends):
            found, of_examples = iter(shapes), grown.get(name, rows)
            if len(of_examples) == len(rows):
                kept = tuple(old and new for old, new in zip(rows, of_examples, strict=True))
                left = tuple(
                    shape for old, new in zip(rows, kept, strict=True) if old for shape in [next(found)] if new
                )
                self._ends[place] = name, module, left, kept
        self._ends = [end for end in self._ends if end[2]]

    def _noting(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.calls[name] += 1
            found = tensors_of(output)
            tensors = [t for t in found if t.shape[0] == 2]
            if self._last is output and self._ends and self._ends[-1][0].startswith(f"{name}."):
                self._last_parts.add(self._ends[-1][0])
            if tensors:
                self._ends.append(
                    (name, module, tuple(tuple(t.shape) for t in tensors), tuple(t.shape[0] == 2 for t in found))
                )
            self._last = output

        return hook

    def _seen(self, extra: ExtraTokens) -> Iterator[SeenLayer]:
        grids: dict[int, tuple[int, int]] = {}
        ran: dict[tuple[int, ...], Before] = {}
        before: dict[int, Before] = {}  # by number of axes
        for name, module, shapes, rows in self._ends:
            for shape in shapes:
                if (leaf := leaf_layout(module, shape)) is not None:
                    ran[shape] = before[len(shape)] = leaf, shape
                    if leaf == "channels_first":
                        height = shape[2] if len(shape) < 5 else shape[2] * shape[3]
                        width = shape[-1] if len(shape) > 3 else 1
                        grids[height * width] = height, width
            count = sum(p.numel() for p in module.parameters())
            forms = tuple(
                self._form(module, shape, ran.get(shape) or before.get(len(shape)), extra, grids) for shape in shapes
            )
            if self.calls[name] == 1:
                yield SeenLayer(name, shapes, type(module).__name__, count, forms, name in self._last_parts, rows)

    def _form(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        before: Before | None,
        extra: ExtraTokens,
        grids: dict[int, tuple[int, int]],
    ) -> Form | None:
        if len(shape) < 3:
            return Form("channels_first")
        layout = self._layout or leaf_layout(module, shape)
        if layout is None and before is not None and before[1] == shape:
            layout = before[0]
        if layout is None:
            try:
                layout = guess_layout(module, shape, before)
            except ValueError:
                return None
        return tell_form(layout, shape, extra, grids)


@dataclass(frozen=True)
class Trial:
    """What one run with edits gave.

    Attributes:
        logits: (edits + 2, 2, D) float64: of the two examples clean, after each edit, and clean again.
        unmixable: layers whose output has no batch axis.
    """

    logits: Tensor
    unmixable: frozenset[str]

    @property
    def noise(self) -> float:
        """How much two equal examples differ, as a share of how much the two examples differ."""
        first, last = self.logits[0], self.logits[-1]
        return float((first - last).norm() / (first - first.flip(0)).norm())

    def share(self, number: int) -> float:
        """The partner's share of the logits after edit ``number`` swapped the two examples: 1 at a cut."""
        clean, swapped = self.logits[0], self.logits[number + 1]
        gap = clean.flip(0) - clean
        return float(((swapped - clean) * gap).sum() / gap.square().sum())

    def carries(self, number: int) -> bool:
        """Everything passes: the logits are the partner's, in every class, within rounding."""
        clean, swapped = self.logits[0], self.logits[number + 1]
        rest = (swapped - clean.flip(0)).norm() / (clean - clean.flip(0)).norm()
        return bool(rest <= max(_EXACT, min(3 * self.noise, _MOST_NOISE)))

    def use(self, noise: int, mean: int) -> LayerUse:
        """What is read after edit ``noise`` added noise, and edit ``mean`` took the mean of that over positions."""
        clean, noisy, averaged = self.logits[0], self.logits[noise + 1], self.logits[mean + 1]
        scale = (noisy - clean).abs().max()
        if scale <= max(1e-6 * float(clean.abs().max()), 3 * float((clean - self.logits[-1]).abs().max())):
            return "nothing"
        # 2 %: above the rounding of a half-precision model, far below what a layer that reads positions shows
        return "mean" if (noisy - averaged).abs().max() <= 0.02 * scale else "positions"


def _edited(pair: Tensor, edit: Edit, form: Form | None) -> Tensor:
    """Edit the rows of the two examples in a layer's output."""
    if edit == "swap":
        return pair.flip(0)
    if form is None or pair.ndim < 3:
        return pair

    def noisy(features: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(features.shape, dtype=torch.float32, device="cpu", generator=generator).to(features)
        return features + noise * features.std().clamp_min(1e-3)

    def averaged(features: Tensor) -> Tensor:
        return noisy(features).mean(dim=tuple(range(2, features.ndim)), keepdim=True).expand_as(features)

    return form.apply(noisy if edit == "noise" else averaged, pair, to_extra=lambda tokens: tokens)
