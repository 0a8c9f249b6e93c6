"""Switch: one of several methods per batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

from torch import Tensor, nn

from alignmixup.functional.sampling import choice
from alignmixup.methods.base import Annotation, DropIn, MixedBatch, Mixer, Pixels
from alignmixup.methods.base.stream import Stream
from alignmixup.options import option
from alignmixup.taps import unwrap


@dataclass(frozen=True, eq=False, kw_only=True)
class SwitchDraw:
    """Draw of a switch; ``lam`` and ``perm`` are those of the mixer's own draw.

    Attributes:
        index: which mixer was chosen.
        inner: that mixer's own draw.
    """

    index: int
    inner: Any

    def __getattr__(self, name: str) -> Any:
        """What the chosen mixer drew."""
        if name.startswith("_") or name == "inner":  # not there yet in a copy that is being made
            raise AttributeError(name)
        return getattr(self.inner, name)


_OWN = ("probability", "active_epochs", "label_smoothing", "multi_label", "targets")


@dataclass(eq=False, kw_only=True)
class Switch(Mixer, Pixels):
    """Draw one of several mixers for each batch, as timm switches between mixup and CutMix.

    ``probability``, ``active_epochs``, ``label_smoothing``, ``multi_label`` and ``targets`` are the switch's own; λ and
    everything else belong to the mixers. All draw from the switch's stream. Without a model the switch has that of its
    mixers, where they share one.
    """

    mixers: Sequence[Mixer | str | Mapping[str, Any]] = option(
        ("mixup", "cutmix"),
        'mixers, method names, or tables of a name and its options, such as { name = "cutmix", alpha = 1.0 }',
        paper="timm: mixup with α 0.8, CutMix with α 1.0",
        fixed=True,
    )
    probabilities: Sequence[float] | None = option(
        None, "share of each mixer; None for equal shares", paper="timm: 0.5", minimum=0, fixed=True
    )

    class_counts: Sequence[float] | None = option(
        None,
        "training images of each class, for mixers that ask; the trainer counts them itself",
        minimum=0,
        repr=False,
        fixed=True,
    )
    mean: Sequence[float] | None = option(None, repr=False, fixed=True)
    std: Sequence[float] | None = option(None, repr=False, fixed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        models = [entry.model for entry in self.mixers if isinstance(entry, Mixer) and entry.model is not None]
        roots = {unwrap(model) for model in models}
        if self.model is None and len(roots) == 1:
            self._put("model", models[0])
            (self._root,) = roots
        self._mixers = tuple(self._build(entry) for entry in self.mixers)
        self._shares = list(self.probabilities or [1.0] * len(self._mixers))
        if len(self._shares) != len(self._mixers) or sum(self._shares) <= 0:
            raise ValueError(
                f"probabilities must be one non-negative number for each of {len(self._mixers)} mixers, "
                f"got {self._shares}"
            )

        self._check_options()

    def _build(self, entry: Mixer | str | Mapping[str, Any]) -> Mixer:
        from alignmixup.methods import build

        if isinstance(entry, Mixer):
            return self._check_entry(entry)
        options = {"name": entry} if isinstance(entry, str) else dict(entry)
        name = options.pop("name", None)
        if name is None:
            raise ValueError(f"a table in mixers needs a name, got {dict(options)}")
        given = {key: getattr(self, key) for key in ("model", "num_classes", "mean", "std", "class_counts")}
        return self._check_entry(build(name, **given, seed=self.stream.seed, options=options))

    def _check_entry(self, mixer: Mixer) -> Mixer:
        if mixer._fixed_by:
            raise ValueError(
                f"this {type(mixer).__name__} is in a switch already, from which it draws: build another one"
            )
        own = [name for name in _OWN if getattr(mixer, name) != getattr(type(mixer), name)]
        if own:
            raise ValueError(
                f"{', '.join(own)} of {type(mixer).__name__} inside a switch has no effect: set it on the switch, and "
                "use `probabilities` (with a baseline among the mixers) for the shares"
            )
        _share(self.stream, mixer)
        vars(mixer)["_fixed_by"] = (*_OWN, "seed", "generator")
        return mixer

    def _check_options(self) -> None:
        super()._check_options()
        self._hand_on()
        for mixer in getattr(self, "_mixers", ()):
            mixer._check_options()

    def _hand_on(self) -> None:
        """Tell the mixers, once they are built, what kind of labels the switch gives them."""
        for mixer in getattr(self, "_mixers", ()):
            mixer._put("multi_label", self.multi_label)
            if isinstance(mixer, Switch):
                mixer._hand_on()

    def _change(self, name: str, value: Any) -> None:
        try:
            super()._change(name, value)
        finally:
            self._hand_on()
        _share(self.stream, *self._mixers)

    looks_inside: ClassVar[bool] = True

    def _reason_for_model(self) -> str:
        return next(filter(None, (mixer._reason_for_model() for mixer in self._mixers)), "")

    def _reason_for_labels(self) -> str:
        mixers = getattr(self, "_mixers", ())  # its own options are checked before they are built
        reasons = ((type(mixer).__name__, mixer._reason_for_labels()) for mixer in mixers)
        return next((f"switches to {name}, which {reason}" for name, reason in reasons if reason), "")

    @property
    def wants_masks(self) -> bool:
        """Any of the mixers does."""
        return any(mixer.wants_masks for mixer in self._mixers)

    @property
    def carries(self) -> tuple[Annotation, ...]:  # type: ignore[override]
        """What all of the mixers can bring along."""
        return tuple(name for name in get_args(Annotation) if all(name in mixer.carries for mixer in self._mixers))

    @property
    def has_auxiliary(self) -> bool:
        """Any of the mixers has one."""
        return any(mixer.has_auxiliary for mixer in self._mixers)

    @property
    def is_scoped(self) -> bool:
        """Any of the mixers is."""
        return any(mixer.is_scoped for mixer in self._mixers)

    def prepare(
        self, x: Tensor | None = None, *others: Any, size: int | Sequence[int] | None = None, **options: Any
    ) -> None:
        """Let every mixer find its layers, so that all hooks stand before the model is compiled."""
        for mixer in self._mixers:
            mixer.prepare(x, *others, size=size, **options)

    def detach(self) -> None:
        """Detach every mixer."""
        for mixer in self._mixers:
            mixer.detach()

    def drop_in(self) -> DropIn:
        """Return a callable ``(x, y) -> (x, target)``.

        Raises:
            TypeError: one of the mixers has none.
        """
        for mixer in self._mixers:
            mixer.drop_in()
        return super().drop_in()

    def draw(self, x: Tensor, target: Tensor) -> SwitchDraw:
        """Draw a mixer, and let it draw."""
        index = choice(self._shares, generator=self.generator)
        inner = self._mixers[index].draw(x, target)
        return SwitchDraw(index=index, inner=inner)

    def mix(self, x: Tensor, target: Tensor, draw: SwitchDraw, *, masks: Tensor | None = None) -> MixedBatch:
        """Mix as the drawn mixer does."""
        draw = self.expect(SwitchDraw, draw)
        mixer = self._mixers[draw.index]
        given = {"masks": masks} if mixer.wants_masks else {}
        batch: MixedBatch = mixer.mix(x, target, draw.inner, **given)
        scoped = self.is_scoped
        return replace(batch, scoped=scoped) if batch.draw is None else replace(batch, draw=draw, scoped=scoped)

    def use_all(self, batch: MixedBatch) -> MixedBatch:
        """Let the loss depend on the parameters of every mixer."""
        drawn = batch.draw.index if isinstance(batch.draw, SwitchDraw) else None
        if drawn is not None:
            own = self._mixers[drawn].use_all(replace(batch, draw=batch.draw.inner))
            batch = replace(own, draw=batch.draw)
        for index, mixer in enumerate(self._mixers):
            unused = None if index == drawn else mixer.use_all(replace(batch, auxiliary=None, draw=None)).auxiliary
            if unused is not None:
                batch = replace(batch, auxiliary=unused if batch.auxiliary is None else _sum(batch.auxiliary, unused))
        return batch

    @property
    def module(self) -> nn.Module:
        """The modules of every mixer."""
        return nn.ModuleList([mixer.module for mixer in self._mixers])

    @property
    def averaged_by_loop(self) -> bool:
        """The loop averages gradients over processes, of every mixer."""
        return all(mixer.averaged_by_loop for mixer in self._mixers)

    @averaged_by_loop.setter
    def averaged_by_loop(self, value: bool) -> None:
        for mixer in self._mixers:
            mixer.averaged_by_loop = value

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the switch and of every mixer."""
        return {**super().state_dict(), "mixers": [mixer.state_dict() for mixer in self._mixers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is of a switch between other mixers.
        """
        super().load_state_dict(state)
        if len(state["mixers"]) != len(self._mixers):
            raise ValueError(f"the state is of {len(state['mixers'])} mixers, this switch has {len(self._mixers)}")
        for mixer, own in zip(self._mixers, state["mixers"], strict=True):
            mixer.load_state_dict(own)


def _share(stream: Stream, *mixers: Mixer) -> None:
    """Let mixers draw from this stream, and those that they switch between."""
    for mixer in mixers:
        mixer.stream = stream
        _share(stream, *getattr(mixer, "_mixers", ()))


def _sum(first: Callable[[], Tensor], second: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return lambda: first() + second()
