"""Which layers of a model could be mixed: cuts, through which everything passes, and what is read from them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor, nn

from alignmixup.taps.layout import ExtraTokens, Form, Layout, guess_layout, tell_form
from alignmixup.taps.outputs import first_tensor, tensors_of
from alignmixup.taps.quiet import evaluating
from alignmixup.taps.run import LayerUse, Run, SeenLayer, told
from alignmixup.taps.sample import Inputs
from alignmixup.taps.tokens import extra_tokens

_ROWS = 32  # most rows of one run; no more than twice the batch, unless that is less than two layers need
_LOOKED_AT = 2  # layers looked at closely in one run: 16 rows


class Probe:
    """A model's layers, told apart by trying them.

    Args:
        run: the model and the batch to look at it with.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._shares: dict[str, tuple[float, bool]] = {}
        self._trains: dict[str, bool] = {}
        self._uses: dict[str, LayerUse] = {}
        self._unmixable: set[str] = set()

    @property
    def _at_once(self) -> int:
        """Layers tried in one run: two rows each, two clean pairs beside them."""
        return min(_ROWS, max(2 + 2 + 6 * _LOOKED_AT, 2 * self.run.inputs.batch)) // 2 - 2

    @property
    def layers(self) -> tuple[SeenLayer, ...]:
        """Layers whose output carries several positions and that run once, in the order in which they end."""
        return tuple(layer for layer in self.run.layers if layer.positions > 1 and not layer.is_last_part)

    def look(self, names: Sequence[str]) -> None:
        """Try layers, each once, all in one run: what each carries and what is read from it."""
        names = [name for name in names if name not in self._uses]
        if not names:
            return
        edits = [(name, edit) for name in names for edit in ("swap", "noise", "mean")]
        trial = self.run.trial(edits)  # type: ignore[arg-type]
        for number, name in enumerate(names):
            if math.isfinite(trial.share(3 * number)):  # noise may overflow, in all rows where they share statistics
                self._note(name, trial.share(3 * number), trial.carries(3 * number), name in trial.unmixable)
            self._uses[name] = trial.use(3 * number + 1, 3 * number + 2)

    def share(self, name: str) -> float:
        """The partner's share of the logits when the layer's outputs are swapped: 1.000 at a cut."""
        self._try_all([name])
        return self._shares[name][0]

    def carries(self, name: str) -> bool:
        """Everything passes through the layer, as far as a look sees training."""
        self._try_all([name])
        return self._shares[name][1]

    def is_cut(self, name: str) -> bool:
        """Everything passes through the layer, in training as well."""
        if self.carries(name) and name not in self._trains:
            self._trains[name] = self.run.trains_as_proved(name)
        return self.carries(name) and self._trains[name]

    def use(self, name: str) -> LayerUse:
        """What reaches the classifier from a layer: each position's features, only their mean, or nothing.

        Where only the mean is read, alignment cancels: a transport plan with uniform marginals keeps the mean.
        """
        if name not in self._uses:
            self.look([name])
        return self._uses[name]

    def last(self) -> str:
        """Name the last cut from whose positions something is read.

        Raises:
            ValueError: there is none.
        """
        names = [layer.name for layer in self.layers]
        found = self._last(names) or self._last(names, everywhere=True)
        if found is None:
            raise ValueError(self._nothing_found())
        return found

    def _last(self, names: list[str], *, everywhere: bool = False, inner: bool = False) -> str | None:
        """Find the last of some layers, given in order, looking at containers before what is in them.

        What goes past a container goes past its parts too, so that those of one that is no cut are left out, unless
        ``everywhere``.
        """
        inside = {name for name in names if any(name.startswith(f"{other}.") for other in names)}
        tops = [name for name in reversed(names) if name not in inside]
        if not inner:  # mostly one of the last two is it
            self.look(tops[:_LOOKED_AT])
        for number, name in enumerate(tops):
            if name not in self._shares:
                self._try_all(tops[number : number + self._at_once])
            if self.is_cut(name) and self.use(name) != "nothing":
                return name
            if everywhere or self.is_cut(name) or name in self._unmixable:
                parts = [other for other in names if other.startswith(f"{name}.")]
                if (found := self._last(parts, everywhere=everywhere, inner=True)) is not None:
                    return found
        return None

    def early(self) -> tuple[str, ...]:
        """Name two early cuts, as Manifold mixup uses them: the ends of the first two of the last four resolutions.

        In a model of one or two resolutions these are the cuts nearest to a quarter and to half of the depth.

        Raises:
            ValueError: there is none.
        """
        order = {layer.name: number for number, layer in enumerate(self.layers)}
        stages: dict[int, list[SeenLayer]] = {}
        for layer in self.layers:
            stages.setdefault(layer.positions, []).append(layer)
        # the outermost module: a pre-activation block's first BatchNorm still has the stage before's resolution
        outermost = [sorted(stage, key=lambda layer: (layer.depth, -order[layer.name])) for stage in stages.values()]
        ends = self._first_cuts([[layer.name for layer in stage] for stage in outermost])[-4:]
        if len(ends) > 2:
            found = ends[:2]
        else:
            blocks = self._blocks()
            found = self._first_cuts([_around(blocks, (len(blocks) - 1) * k // 4) for k in (1, 2)]) or ends[:1]
        if not found:
            raise ValueError(self._nothing_found())
        return tuple(layer.name for layer in self.layers if layer.name in found)

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """Name the cuts that end nearest to a layer."""
        order = [layer.name for layer in self.layers]
        ended = [layer.name for layer in self.run.layers]
        if name in ended:
            place = ended.index(name)
        else:  # a container that never runs itself, or a module that runs twice: near its parts
            inside = [i for i, other in enumerate(ended) if other.startswith(f"{name}.")]
            place = inside[-1] if inside else len(ended) - 1
        near = sorted(order, key=lambda other: abs(ended.index(other) - place))[: 2 * self._at_once]
        return list(islice(self._cuts([other for other in near if other != name]), count))

    def _cuts(self, names: Iterable[str]) -> Iterator[str]:
        """Give the cuts among layers, in order, trying several at once."""
        waiting = list(names)
        while waiting:
            part, waiting = waiting[: self._at_once], waiting[self._at_once :]
            self._try_all(part)
            yield from (name for name in part if self.is_cut(name))

    def _try_all(self, names: Sequence[str]) -> None:
        new = [name for name in names if name not in self._shares]
        for first in range(0, len(new), self._at_once):
            part = new[first : first + self._at_once]
            trial = self.run.trial([(name, "swap") for name in part])
            for number, name in enumerate(part):
                self._note(name, trial.share(number), trial.carries(number), name in trial.unmixable)

    def _note(self, name: str, share: float, carries: bool, unmixable: bool) -> None:
        self._shares[name] = (0.0, False) if unmixable else (share, carries)
        if unmixable:
            self._unmixable.add(name)

    def _first_cuts(self, lists: list[list[str]]) -> list[str]:
        """Give the first cut among the first names of each list, where there is one; mostly it is the first."""
        self._try_all([names[0] for names in lists if names])
        self._try_all([name for names in lists if names and not self.is_cut(names[0]) for name in names[1:4]])
        found = (next((name for name in names[:4] if self.is_cut(name)), None) for names in lists)
        return list(dict.fromkeys(name for name in found if name is not None))

    def _blocks(self) -> list[str]:
        """Name the network's blocks: the siblings of one class that together hold the most parameters."""
        families: dict[tuple[str, str], list[SeenLayer]] = {}
        for layer in self.layers:
            families.setdefault((layer.name.rpartition(".")[0], layer.kind), []).append(layer)
        siblings = [family for family in families.values() if len(family) > 1] or list(families.values())
        largest = max(siblings, key=lambda family: sum(layer.parameters for layer in family), default=[])
        return [layer.name for layer in largest]

    def _nothing_found(self) -> str:
        kind, inputs = type(self.run.root).__name__, self.run.inputs
        shapes = [
            tuple(tensor.shape) for given in (*inputs.args, *inputs.kwargs.values()) for tensor in tensors_of(given)
        ]
        if not self.layers:
            return (
                f"no layer of {kind} has an output with several positions at input shape "
                f"{', '.join(map(str, shapes))}: name one with layer=..., or use larger images"
            )
        best = max(self._shares.items(), key=lambda item: item[1][0], default=("", (0.0, False)))
        return (
            f"no layer of {kind} that runs once carries the whole network (the best, {best[0]!r}, carries "
            f"{told(best[1][0])} of the logits): mix the input, with Mixup or input_probability=1"
        )


def _around(names: Sequence[str], place: int) -> list[str]:
    """Order names by their distance from a place."""
    return [names[i] for i in sorted(range(len(names)), key=lambda i: abs(i - place))]


def probe(root: nn.Module, x: Tensor, layout: Layout | None = None) -> Probe:
    """Look at a model with a batch, without a trace.

    Args:
        root: the unwrapped model.
        x: (B, ...) a batch as the model takes it.
        layout: layout of its layers' outputs; None tells it for each.

    Raises:
        ValueError: the model gives the same logits for all images.
    """
    return Probe(Run(root, Inputs((x,), {}, x.shape[0]), layout))


def layer_use(root: nn.Module, x: Tensor, name: str, layout: Layout | None = None) -> LayerUse:
    """Find out what the rest of the model reads from a layer, by asking the model; see :meth:`Probe.use`."""
    return probe(root, x, layout).use(name)


def feature_maps(
    root: nn.Module,
    x: Tensor,
    names: Iterable[str],
    layout: Layout | None = None,
    forms: Mapping[str, Form] | None = None,
) -> dict[str, Tensor]:
    """Run images through the model, in eval mode and without gradients, and return the maps of some layers.

    Args:
        root: the unwrapped model.
        x: (B, ...) a batch as the model takes it.
        names: dotted names of the layers.
        layout: layout of their outputs; None tells it from the module.
        forms: layer name -> form of its output, where it is known.

    Returns:
        layer name -> (B, C, h, w), in the order in which the layers end.

    Raises:
        ValueError: the model does not run one of the layers.
    """
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            first = first_tensor(output)
            if first is None:
                raise TypeError(f"layer {name!r} returns {type(output).__name__}, which holds no map: choose another")
            seen[name] = first.clone()  # what follows may work in place

        return hook

    handles = {name: root.get_submodule(name).register_forward_hook(note(name)) for name in names}
    try:
        with evaluating(root):
            root(x.clone())  # which may work in place
    finally:
        for handle in handles.values():
            handle.remove()
    if missed := [name for name in handles if name not in seen]:
        raise ValueError(f"{type(root).__name__} never runs layer {', '.join(map(repr, missed))}: name another one")
    known = forms or {}
    layouts = {
        name: layout or guess_layout(root.get_submodule(name), tuple(tensor.shape))
        for name, tensor in seen.items()
        if name not in known
    }
    extra = extra_tokens(root, Inputs((x,), {}, x.shape[0])) if "tokens" in layouts.values() else ExtraTokens(0)
    return {
        name: (known.get(name) or tell_form(layouts[name], tuple(tensor.shape), extra, {})).to_map(tensor)
        for name, tensor in seen.items()
    }
