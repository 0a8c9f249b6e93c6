"""LayerMixer: base of the methods that mix inside the model, at layers that are proved to be cuts."""

import inspect
import logging
import weakref
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alignmixup.functional.cells import AlignmentSize, alignment_size
from alignmixup.methods.base.batch import MixedBatch
from alignmixup.methods.base.mixer import Mixer
from alignmixup.options import option
from alignmixup.taps import Attachment, Form, Inputs, LayerMix, Layout, NotCallableError, Probe, Run, UndecidedError
from alignmixup.taps.feature_tap import idle_hook
from alignmixup.taps.layer_check import LayerReport, check_again, check_layers

logger = logging.getLogger("alignmixup")
_LOOK_AGAIN = 200  # batches: hardly any of their time, and within an epoch of most trainings


@dataclass(eq=False, kw_only=True)
class LayerMixer(Mixer):
    """Base of the methods that mix at layers of the model.

    Before the first mixed batch the mixer looks at the model with two of its images, and proves that each layer is a
    cut: where the two exchange their features there, they exchange their logits. A layer that does not carry the whole
    network, or runs twice in a forward, is refused, and the nearest ones that do are named. A model that takes more
    than images is looked at from inside its own first forward. The proof is repeated every 200 batches in which mixing
    is on, since a model may take another path later.
    """

    needs_model = "mixes inside the model"
    layer: str | nn.Module | Sequence[str | nn.Module] | None = option(
        None,
        "the hidden layer to mix at: a dotted name, the module, several of them, or None to find them from the first "
        "batch (what is found is logged)",
        fixed=True,
    )
    layout: Layout | None = option(
        None, "layout of the layers' outputs; None tells it from the modules and from what ran before them", fixed=True
    )
    carry_test: bool = option(
        True,
        "check at the first batch that everything passes through the layers; False takes named ones unchecked",
        fixed=True,
    )

    looks_inside: ClassVar[bool] = True
    reads_positions: ClassVar[bool] = True  # where the layer's positions lie matters to the method

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self._root is not None
        self._tap = Attachment(self._root)
        self._proved = False
        self._since_look = 0  # batches
        self._sample: Inputs | None = None  # two examples, of a model that takes more than images
        self._first_forward: Any = None
        self._blocks_before = 0  # that ended before the first forward was waited for
        self._forms: dict[str, tuple[Form | None, ...]] = {}
        self._rows: dict[str, tuple[bool, ...]] = {}
        self._used: dict[str, str] = {}
        self._layers: tuple[str, ...] = ()
        self._places: dict[str, str] = {}  # what the layers were called when they were looked at
        if wanted := [self.layer] if isinstance(self.layer, str | nn.Module) else list(self.layer or ()):
            self._take(wanted)

    def _check_options(self) -> None:
        super()._check_options()
        if self.layer is not None and not isinstance(self.layer, str | nn.Module) and not list(self.layer):
            raise ValueError("layer names no layer: give one or several, or None to find them automatically")

    @property
    def layers(self) -> tuple[str, ...]:
        """Dotted names of the hidden layers to mix at; empty before the first batch where they are to be found."""
        return self._layers

    def _take(self, layers: Sequence[str | nn.Module]) -> None:
        """Mix at these layers from now on."""
        self._layers = tuple(self._tap.attach(layer) for layer in layers)

    @property
    def is_scoped(self) -> bool:
        """A batch may be mixed inside the model, so that it must be entered and cannot be unpacked."""
        return True

    def layer_mix(self, layer: str, function: Callable[..., Any], *, whole: bool = False) -> LayerMix:
        """What a batch's ``hidden`` holds for a layer: a function of its map, and how its output is laid out.

        Args:
            layer: one of :attr:`layers`.
            function: pure function of a map (B, C, positions...).
            whole: the function takes the output as it stands.
        """
        return LayerMix(function, self._forms.get(layer, ()), self.layout, whole=whole, rows=self._rows.get(layer, ()))

    @abstractmethod
    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Choose the hidden layers when the user named none."""

    def _mix_pair(self, maps: Tensor) -> Tensor:
        """Mix maps of two examples with each other, to see how long it takes; asked where positions are read."""
        return maps

    def plan_size(self, axes: tuple[int, ...]) -> AlignmentSize:
        """Tell what mixing maps with these axes of positions takes; asked where the method reads positions."""
        return alignment_size(axes, None)

    def _mixed(self, x: Tensor, y: Tensor, masks: Tensor | None) -> MixedBatch:
        # the first batch of a model that takes more than images, with its layer still to be found, stays unmixed
        self._check_process()
        self._check_batch(x, y)
        if self.is_active and len(x) and not self._proved:
            self.prepare(x)
            if not self._layers and self.is_scoped:
                return replace(self.clean(x, y), tap=self._tap)
        return super()._mixed(x, y, masks)

    def prepare(
        self, x: Tensor | None = None, *others: Any, size: int | Sequence[int] | None = None, **options: Any
    ) -> None:
        """Find the layers from the first batch if none were named, and prove that they are cuts.

        ``size`` in place of ``x``: see :meth:`Mixer.prepare`; the others are what else the model takes.

        Raises:
            ValueError: a layer does not carry everything, runs twice or never, or its layout cannot be told.
        """
        if not torch.compiler.is_compiling():  # a number that changes would be compiled anew
            self._since_look += 1
        if self._first_forward is not None and not self._proved and self._tap.blocks > self._blocks_before:
            raise ValueError(
                f"{type(self._root).__name__} takes more than images, and could not be looked at from inside its own "
                "forward, as when it is compiled: call mixer.prepare(x, ...) once, with everything that it takes, "
                "before the first batch"
            )
        is_due = self.carry_test and self._since_look > _LOOK_AGAIN
        is_waiting = self._first_forward is not None and not self._proved
        if is_waiting or not self.is_scoped or (self._is_proved and not is_due):
            return
        x = self._example(x, size)
        if not self.carry_test and self._layers:
            self._proved = True
            return
        if self._is_proved:
            self._look_again(x)
            return
        try:
            self.check(x, *others, **options)
        except NotCallableError as error:
            if others or options:
                raise ValueError(
                    f"{type(self._root).__name__} cannot be called as prepare(...) was: {error}"
                ) from error
            self._wait(x)
        else:
            if not others and not options and self._takes_more:
                self._wait(x)  # its training may call it otherwise

    def check(self, x: Tensor, *others: Any, **options: Any) -> tuple[LayerReport, ...]:
        """Look at the model again, whatever ``carry_test`` says, and report its layers; arguments as :meth:`prepare`.

        Raises:
            ValueError: as :meth:`prepare`.
            NotCallableError: the model cannot be called like this.
        """
        return self._look(Inputs((x, *others), options, x.shape[0], tuple(x.shape[1:])))

    @property
    def _is_proved(self) -> bool:
        """The layers were looked at where they are now, with what may stand around them."""
        return self._proved and (not self.carry_test or self._places == self._tap.places())

    def _look_again(self, x: Tensor) -> None:
        """Prove again, with two images of a later batch, that the layers are cuts."""
        assert self._root is not None
        self._since_look = 0
        inputs = Inputs((x,), {}, x.shape[0], tuple(x.shape[1:])) if self._sample is None else self._sample.to(x.device)
        try:
            check_again(Probe(Run(self._root, inputs, self.layout)), [self._places[layer] for layer in self._layers])
        except (UndecidedError, NotCallableError) as error:
            # a training that diverges says so itself
            logger.debug("the layers could not be looked at again: %s", error)
        except ValueError as error:
            raise ValueError(f"the model takes another path than it did before: {error}") from error

    def _look(self, inputs: Inputs) -> tuple[LayerReport, ...]:
        assert self._root is not None
        self._since_look = 0
        found = Probe(Run(self._root, inputs, self.layout))
        is_automatic = not self._layers
        if is_automatic:
            self._take(self.find_layers(found))
        places = self._tap.places()
        reports = check_layers(
            found,
            [places[layer] for layer in self._layers],
            self._mix_pair,
            self.plan_size,
            reads_positions=self.reads_positions,
            is_proof=self.carry_test,
        )
        forms = {layer.name: forms for layer in found.run.layers if None not in (forms := layer.forms)}
        self._forms = forms | {layer: forms[place] for layer, place in places.items() if place in forms}
        self._rows = {layer: seen.rows for layer, place in places.items() if (seen := found.run.find(place))}
        self._approve(reports)
        self._used = {report.name: report.use for report in reports}
        if not self._proved:
            how = "found automatically" if is_automatic else "as named"
            for report in reports:
                logger.info("%s mixes at layer %s (%s)", type(self).__name__, report, how)
        self._proved, self._places = True, places
        self._sample = inputs.two() if len(inputs.args) > 1 or inputs.kwargs else None
        return reports

    def _approve(self, reports: tuple[LayerReport, ...]) -> None:
        """Refuse a layer, with a ValueError, that the method cannot do with; cuts are known to be cuts."""

    @property
    def _takes_more(self) -> bool:
        """The model can be called with more than images."""
        assert self._root is not None
        try:
            return len(inspect.signature(self._root.forward).parameters) > 1
        except (TypeError, ValueError):  # it does not say
            return False

    def _wait(self, x: Tensor) -> None:
        """Look from inside the model's own next forward in a block: only it knows what the model takes."""
        assert self._root is not None
        self._blocks_before = self._tap.blocks
        self._first_forward = self._tap.on_forward(_FirstForward(self, tuple(x.shape)))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_first_forward": None}  # the hook is the model's: a copy looks itself

    def detach(self) -> None:
        """Leave the model as it was found: without a hook. The mixer cannot be used any more."""
        self._tap.release()


class _FirstForward:
    """Looks at a model from inside its own first forward in a block."""

    def __init__(self, mixer: LayerMixer, shape: tuple[int, ...]) -> None:
        self.mixer = weakref.ref(mixer)
        self.shape = shape

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mixer = None if torch.compiler.is_compiling() else self.mixer()
        if mixer is None or not mixer._tap.tap.depth or not module.training:
            return
        mixer._first_forward.remove()
        mixer._first_forward = None
        if mixer._proved and len(args) + len(kwargs) == 1:  # as it was looked at
            return
        try:
            mixer._look(Inputs(args, kwargs, self.shape[0], self.shape[1:]))
        except NotCallableError as error:
            raise ValueError(
                f"{type(module).__name__} could not be run on two examples of its batch, to prove its layers: {error}; "
                "name layers with carry_test=False to mix at them unchecked"
            ) from error
        mixer._tap.tap.inform(mixer._forms, mixer._rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return idle_hook()
