"""Mixer: the interface of every method, which adds two functions: ``draw`` (randomness), ``mix`` (mathematics)."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from inspect import signature
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from alignmixup.functional.labels import as_target, as_values, smooth
from alignmixup.functional.sampling import coin
from alignmixup.methods.base.annotations import Annotation, Annotations
from alignmixup.methods.base.batch import MixedBatch
from alignmixup.methods.base.drop_in import DropIn
from alignmixup.methods.base.stream import DrawnFrom, Stream, drawn_seed
from alignmixup.near import near
from alignmixup.options import Options, option, options_of
from alignmixup.taps import FeatureTap, unwrap

D = TypeVar("D")
logger = logging.getLogger("alignmixup")


@dataclass(eq=False)
class Mixer(Options, ABC):
    """Base of all mixing methods.

    Calling a mixer on a batch draws, mixes and returns a :class:`MixedBatch`. In eval mode of ``model``, outside
    ``active_epochs``, and with probability ``1 - probability`` the batch comes back as it is, with its own labels; so
    does an empty one.

    Its fields are its options, checked when the mixer is built and whenever one is assigned; an assignment takes
    effect with the next batch. Those that cannot change refuse it.

    Example:
        >>> import torch
        >>> from alignmixup import CutMix
        >>> mixer = CutMix(num_classes=10, seed=0)
        >>> with mixer(torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])) as batch:
        ...     print(batch.x.shape, batch.target.shape)
        torch.Size([4, 3, 32, 32]) torch.Size([4, 10])
    """

    model: nn.Module | None = option(
        None,
        "the classifier, wrapped or not; needed by methods that ask it or mix inside it, optional for the others, "
        "which then cannot see eval mode",
        repr=False,
        fixed=True,
    )
    _: KW_ONLY
    num_classes: int | None = option(None, "number of classes K; needed for integer labels", minimum=1)
    probability: float = option(1.0, "share of batches that are mixed, in [0, 1]", minimum=0, maximum=1)
    active_epochs: tuple[int, int] | None = option(
        None, "mix only in epochs start <= epoch < end; tell the epoch with set_epoch", paper="all epochs"
    )
    label_smoothing: float = option(
        0.0, "share of label mass moved to the uniform distribution, in [0, 1)", paper="none", minimum=0, below=1
    )
    multi_label: bool = option(
        False, "labels are independent yes/no questions, for a BCE criterion; smoothing then moves towards 1/2"
    )
    targets: Literal["labels", "values"] = option(
        "labels", 'what y holds: "labels" of classes, or "values", real numbers of a regression, (B,) or (B, D)'
    )
    seed: int | None = option(
        None,
        "seed of everything the mixer draws, the same in every process; None draws one from torch's global generator, "
        "so that it follows torch.manual_seed",
        repr=False,
    )
    generator: Any = option(  # a torch.Generator or None; read as the generator to draw from
        None,
        "CPU generator to draw from as it is, in place of a seed; yours to seed differently in each process",
        repr=False,
    )

    needs_model: ClassVar[str] = ""  # what for, where a method cannot do without
    needs_labels: ClassVar[str] = ""  # what it does with classes, where it cannot mix the values of a regression
    looks_inside: ClassVar[bool] = False  # it runs the model itself: never in a compiled graph of the training step
    carries: ClassVar[tuple[Annotation, ...]] = ()  # annotations of the images that its batches can bring along
    _misses_epoch = False
    averaged_by_loop = False  # the loop averages gradients of `parameters()` over processes: set it where it does
    _fixed_by: ClassVar[tuple[str, ...]] = ()  # options that a switch around the mixer has in its place
    __eq__, __hash__ = object.__eq__, object.__hash__  # a mixer is itself, whatever the options it shares

    def __new__(cls, *_: Any, **options: Any) -> Self:
        taken = signature(cls.__init__).parameters  # a class may have an __init__ of its own
        for name in options:
            if name not in taken and not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
                raise TypeError(f"{cls.__name__} has no option {name!r}; {near(name, options_of(cls))}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        # Drawing is never traced: each number would end a graph. Importing the compiler for it takes seconds.
        may_be_traced = self.looks_inside or "torch._dynamo" in sys.modules
        if may_be_traced and not hasattr(type(self).__call__, "_torchdynamo_disable"):
            type(self).__call__ = torch.compiler.disable(type(self).__call__)  # type: ignore[method-assign, no-untyped-call]
        if self.model is not None and not isinstance(self.model, nn.Module):
            raise TypeError(self._misplaced(self.model))
        if self.model is None and self.needs_model:
            name = type(self).__name__
            raise ValueError(f"{name} {self.needs_model}: pass it as {name}(model, ...)")
        super().__post_init__()
        self.stream = self._new_stream()
        self._root = None if self.model is None else unwrap(self.model)

    def _check_options(self) -> None:
        super()._check_options()
        epochs = self.active_epochs
        if epochs is not None and not (len(epochs) == 2 and 0 <= epochs[0] < epochs[1]):
            raise ValueError(f"active_epochs must be (start, end) with 0 <= start < end, got {self.active_epochs}")
        if self.targets == "values":
            self._check_values()
        generator = vars(self)["generator"]
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(f"generator must be a torch.Generator or None, got {generator!r}")
        if generator is not None and generator.device.type != "cpu":
            raise ValueError(f"generator must live on the CPU (same draws on every device), got {generator.device}")
        if generator is not None and self.seed is not None:
            raise ValueError(f"seed and generator exclude each other, got seed={self.seed} and a generator")

    def _check_values(self) -> None:
        name = type(self).__name__
        if reason := self._reason_for_labels():
            raise ValueError(f"{name} {reason}, so targets='values' has no meaning: use Mixup, CutMix or AlignMixup")
        if self.label_smoothing or self.multi_label:
            given = "label_smoothing" if self.label_smoothing else "multi_label"
            raise ValueError(f"{given} is of labels, and targets='values' of {name} are none: leave it out")

    def _reason_for_labels(self) -> str:
        """Say what a method does with classes; nothing where it mixes any numbers."""
        return self.needs_labels

    def _misplaced(self, value: Any) -> str:
        """Say where a value belongs that was given in place of the model."""
        known, name = options_of(type(self)), type(self).__name__
        for key in ("num_classes", "alpha", "layer", "mixers", "autoencoder"):
            try:
                known[key].check(value)
            except (KeyError, TypeError, ValueError):
                continue
            return f"the first argument of {name} is the model, got {value!r}; write {name}({key}={value!r})"
        return f"model must be a torch.nn.Module or None, got {value!r}; options are given by name: {name}(model, ...)"

    def _change(self, name: str, value: Any) -> None:
        item, before = options_of(type(self))[name], vars(self)[name]
        if item.fixed:
            method = type(self).__name__
            raise AttributeError(
                f"{name} of {method} cannot change once it is built, got {value!r}: build another {method}"
            )
        if self._fixed_by and name in self._fixed_by:
            raise AttributeError(f"{name} of {type(self).__name__} inside a switch has no effect: set it on the switch")
        item.check(value)
        self._put(name, value)
        try:
            self._check_options()
        except Exception:
            self._put(name, before)
            raise
        if name in ("seed", "generator"):
            earlier, self.stream = self.stream, self._new_stream()
            if earlier.knows_epoch:
                self.stream.epoch = earlier.epoch

    def _new_stream(self) -> Stream:
        seed, generator = self.seed, vars(self)["generator"]
        return Stream(drawn_seed() if seed is None and generator is None else seed or 0, generator)

    def _put(self, name: str, value: Any) -> None:
        """Set an option to what the mixer itself found for it."""
        vars(self)[name] = value

    @abstractmethod
    def draw(self, x: Tensor, target: Tensor) -> Any:
        """Draw everything random about a batch: all randomness of the method and no mathematics."""

    @abstractmethod
    def mix(self, x: Tensor, target: Tensor, draw: Any) -> MixedBatch:
        """Mix a batch as drawn: all mathematics of the method and no randomness, so it can be replayed.

        Args:
            x: (B, ...) images; never modified.
            target: (B, K) float32 labels.
            draw: what :meth:`draw` returned, or one made by hand.

        Raises:
            TypeError: a draw of another method.
        """

    def expect(self, kind: type[D], draw: object) -> D:
        """Return ``draw`` if it is of the kind that this method draws.

        Raises:
            TypeError: it is not; the message says what it should be.
        """
        if isinstance(draw, kind):
            return draw
        name = type(self).__name__
        holds = ", ".join(item.name for item in fields(kind))  # type: ignore[arg-type]
        raise TypeError(
            f"{name}.mix needs a {kind.__name__} ({holds}), got {type(draw).__name__}: take it from "
            f"{name}.draw(x, target), or make one by hand"
        )

    def check_images(self, x: Tensor) -> torch.Size:
        """Return the shape of images.

        Raises:
            ValueError: it is not (B, C, H, W).
        """
        if x.ndim != 4:
            raise ValueError(f"{type(self).__name__} needs images of shape (B, C, H, W), got {tuple(x.shape)}")
        return x.shape

    def __call__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        masks: Tensor | None = None,
        boxes: Sequence[Tensor] | Tensor | None = None,
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            x: (B, ...) floating-point images, normalised; never modified.
            y: (B,) class indices, or (B, K) soft or multi-hot labels; with ``targets="values"`` (B,) or (B, D) real
                numbers, in whose shape ``batch.target`` comes back.
            masks: (B, H, W) or (B, C, H, W) values at the images' pixels, to be mixed along as ``batch.masks``. With
                ``labels="visible"`` they say where the object of each image is: one channel, bool or in [0, 1].
            boxes: for each image (N, 4 + k) boxes ``x0, y0, x1, y1`` in pixels, with any further columns, such as a
                class; to be mixed along as ``batch.boxes``.

        Raises:
            ValueError: batch sizes differ, labels are out of range, or the number of classes is unknown; masks or boxes
                that do not fit the images, or masks that are missing.
            TypeError: no tensors, images that are not floating point, or labels that are one-dimensional floats; masks
                or boxes with a method that cannot bring them along.
            RuntimeError: a method that needs the model is called in a worker process of a loader.
        """
        if masks is None and boxes is None:
            return self._mixed(x, y, None)
        wanted: dict[Annotation, bool] = {"masks": masks is not None, "boxes": boxes is not None}
        if lost := [name for name, given in wanted.items() if given and name not in self.carries]:
            raise TypeError(
                f"{type(self).__name__} cannot bring {' and '.join(lost)} along: 'Masks and boxes' in the "
                "documentation lists the methods that can"
            )
        annotations = Annotations.checked(x, masks, boxes)
        batch = self._mixed(x, y, masks)
        hidden = batch.hidden if batch.parents is None else batch.parents.watching(batch.hidden)
        return replace(batch, annotations=annotations, hidden=hidden)

    def _mixed(self, x: Tensor, y: Tensor, masks: Tensor | None) -> MixedBatch:
        self._check_process()
        target = self._target(x, y)
        if self.wants_masks and masks is None:
            raise ValueError(self._no_masks())
        given = {"masks": masks} if self.wants_masks else {}
        if self.is_active and len(x):
            self.prepare(x)
            with self.stream as stream:
                if coin(self.probability, generator=stream.generator):
                    batch = self.mix(x, target, self.draw(x, target), **given)
                    return self._finished(self.use_all(batch), y)
        return self._finished(self.use_all(MixedBatch(x, target, target, scoped=self.is_scoped)), y)

    def _finished(self, batch: MixedBatch, y: Tensor) -> MixedBatch:
        """What is handed out: values in the shape in which they came, and a block that shadows an enclosing one."""
        if batch.tap is None and self._root is not None and get_worker_info() is None:
            batch = replace(batch, tap=FeatureTap.of(self._root))
        if self.targets == "labels":
            return batch
        target, clean = batch.target, batch.clean_target
        if y.ndim == 1:
            target, clean = target[:, 0], clean[:, 0]  # views: a method may change them later
        return replace(batch, target=target, clean_target=clean, values=True)

    @property
    def wants_masks(self) -> bool:
        """The method needs to know where the object of each image is."""
        return False

    def _no_masks(self) -> str:
        return (
            f"labels='visible' of {type(self).__name__} needs to know where the objects are: call it as "
            "mixer(x, y, masks=masks), masks of shape (B, H, W), or use labels='area'"
        )

    def use_all(self, batch: MixedBatch) -> MixedBatch:
        """Let the loss of a training batch depend on all parameters of :attr:`module`, where processes must agree.

        What one process draws another does not: averaging the gradients of a module that only some of them used would
        wait forever. So a method with parameters adds those that a batch does without, weighed by 0.
        """
        return batch

    def _check_process(self) -> None:
        if get_worker_info() is not None and (reason := self._reason_for_model()):
            raise RuntimeError(
                f"{reason}, and the model that learns is not in this worker process of a DataLoader: call the mixer in "
                "the training loop, on the batches that the loader gives"
            )

    def _reason_for_model(self) -> str:
        """Say what needs the model, and what for; nothing where a method can do without."""
        return f"{type(self).__name__} {self.needs_model}" if self.needs_model else ""

    def clean(self, x: Tensor, y: Tensor) -> MixedBatch:
        """Return the batch unmixed: ``x`` itself, and its labels as soft labels."""
        target = self._target(x, y)
        return self._finished(MixedBatch(x, target, target, scoped=self.is_scoped), y)

    def _target(self, x: Tensor, y: Tensor) -> Tensor:
        self._check_batch(x, y)
        if self.targets == "values":
            return as_values(y, self.num_classes)
        target = as_target(y, self.num_classes)
        return smooth(target, self.label_smoothing, multi_label=self.multi_label) if self.label_smoothing else target

    @staticmethod
    def _check_batch(x: Tensor, y: Tensor) -> None:
        for name, value in (("images", x), ("labels", y)):
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} must be a tensor, got {type(value).__name__}: use torch.as_tensor")
        if x.shape[:1] != y.shape[:1] or x.ndim < 2:
            raise ValueError(f"images {tuple(x.shape)} and labels {tuple(y.shape)} are not one batch")
        if x.device != y.device:
            raise ValueError(f"images on {x.device} and labels on {y.device}: move the labels, y.to({str(x.device)!r})")
        if not x.is_floating_point():
            raise TypeError(f"images must be floating point, got {x.dtype}: convert and normalise them before mixing")

    def prepare(
        self, x: Tensor | None = None, *others: Any, size: int | Sequence[int] | None = None, **options: Any
    ) -> None:
        """Get ready for the first batch: methods that must see one (to find layers) do it here.

        Args:
            x: (B, ...) images.
            *others: what else the model takes.
            size: in place of ``x``, the shape of an image: ``(C, H, W)``, or ``(H, W)`` or one side with 3 channels.
            **options: what the model takes by name.

        Raises:
            TypeError: neither images nor a size, or both.
        """

    def _example(self, x: Tensor | None, size: int | Sequence[int] | None) -> Tensor:
        """Two images of noise of this size, where the model is, unless there are images."""
        if (x is None) == (size is None):
            raise TypeError("prepare takes a batch of images, or size=... in its place: (C, H, W), (H, W) or one side")
        if x is not None:
            return x
        shape = (size, size) if isinstance(size, int) else tuple(size or ())
        shape = (3, *shape) if len(shape) == 2 else shape
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise ValueError(f"size must be (C, H, W), (H, W) or one side, got {size!r}")
        noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
        here = next((p for p in self._root.parameters() if p.is_floating_point()), None) if self._root else None
        return noise if here is None else noise.to(here.device, here.dtype)

    @property
    def has_auxiliary(self) -> bool:
        """The method adds a loss of its own to batches."""
        return False

    @property
    def is_scoped(self) -> bool:
        """Batches of the method must be used through ``with`` and :meth:`MixedBatch.loss`: none of them unpacks."""
        return self.has_auxiliary

    def detach(self) -> None:
        """Leave the model exactly as it was found; hidden methods have hooks there until then."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "generator": None}  # its stream has it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    @property
    def is_active(self) -> bool:
        """Mixing is on: the model, if known, is in training mode and the epoch lies in ``active_epochs``."""
        if self._root is not None and not self._root.training:
            return False
        epochs = self.active_epochs
        return epochs is None or epochs[0] <= self._epoch_for("active_epochs") < epochs[1]

    def _epoch_for(self, name: str) -> int:
        """The epoch that an option goes by; that nobody tells it, so that the first one stays, is said once."""
        if not self.stream.knows_epoch and not self._misses_epoch:
            self._misses_epoch = True
            logger.warning(
                "%s=%s of %s goes by the epoch, and it was not told one: batches are taken for those of epoch 0; call "
                "mixer.set_epoch(epoch) before each epoch",
                name,
                getattr(self, name),
                type(self).__name__,
            )
        return self.stream.epoch

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, counted from 0: ``active_epochs`` and what is drawn depend on it, in worker processes too."""
        self.stream.epoch = epoch

    def drop_in(self) -> DropIn:
        """Return a callable ``(x, y) -> (x, target)`` for a training loop that cannot be edited.

        Raises:
            TypeError: the method has an auxiliary loss.
        """
        return DropIn(self)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of :attr:`module`, which the optimiser must also train."""
        return self.module.parameters()

    @property
    def module(self) -> nn.Module:
        """The method's own layers, for a framework to move, save and train; most methods have none, and it is empty."""
        return nn.Module()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random stream and the epoch, for a checkpoint: one for all processes."""
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the random stream of this process where :meth:`state_dict` was taken, in any one.

        Raises:
            ValueError: the state is of a generator that was passed in another process.
        """
        self.stream.load_state_dict(state)


# the field's name serves two: what was passed, and what to draw from
Mixer.generator = DrawnFrom()
