"""Mixer: the interface of every method, which adds two functions: ``draw`` (randomness), ``mix`` (mathematics)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import torch
import torch.distributed
from torch import Tensor, nn

from alignmixup.functional.labels import as_target, smooth, soft_labels
from alignmixup.functional.sampling import beta, coin, matching, permutation, to_device
from alignmixup.methods.batch import Draw, MixedBatch
from alignmixup.methods.drop_in import DropIn
from alignmixup.taps import unwrap

LamPer = Literal["batch", "pair", "sample"]


def _default_generator() -> torch.Generator:
    """Make a CPU generator that follows ``torch.manual_seed`` without touching the global state; one stream a rank."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if distributed else 0
    return torch.Generator().manual_seed((torch.initial_seed() + rank) % 2**63)


@dataclass(eq=False)
class Mixer(ABC):
    """Base of all mixing methods.

    Calling a mixer on a batch draws, mixes and returns a :class:`MixedBatch`. In eval mode of ``model``, outside
    ``active_epochs``, and with probability ``1 - probability`` the batch comes back as it is, with its own labels.

    Args:
        model: the classifier; needed by methods that mix inside it, optional for the others, which then cannot
            see eval mode. Wrapped models (DistributedDataParallel, torch.compile) are unwrapped.
        num_classes: number of classes K; needed for integer labels.
        mean: what was subtracted from each channel to normalise the images, in [0, 1] units; needed by methods that
            look at pixels. (0.0,) for images in [0, 1].
        std: what each channel was divided by. (1.0,) for images in [0, 1].
        alpha: parameter of λ ~ Beta(α, α), > 0.
        lam_per: one λ for the whole ``"batch"`` (all published codes), one per ``"pair"`` (partners are then
            mutual), or one per ``"sample"``.
        probability: share of batches that are mixed, in [0, 1].
        active_epochs: mix only in epochs ``start <= epoch < end``; tell the epoch with :meth:`set_epoch`.
        label_smoothing: share of label mass moved to the uniform distribution, in [0, 1).
        multi_label: labels are independent yes/no questions (for a BCE criterion); smoothing then moves towards 1/2.
        generator: CPU generator of everything the mixer draws; default: its own, following ``torch.manual_seed``.
    """

    model: nn.Module | None = field(default=None, repr=False)
    _: KW_ONLY
    num_classes: int | None = None
    mean: Sequence[float] | None = field(default=None, repr=False)
    std: Sequence[float] | None = field(default=None, repr=False)
    alpha: float = 1.0
    lam_per: LamPer = "batch"
    probability: float = 1.0
    active_epochs: tuple[int, int] | None = None
    label_smoothing: float = 0.0
    multi_label: bool = False
    generator: torch.Generator = field(default_factory=_default_generator, repr=False)

    looks_inside: ClassVar[bool] = False
    """The method runs the model, to look at it or for its gradients: never in a compiled graph of the training step."""

    def __post_init__(self) -> None:
        if self.looks_inside and not hasattr(type(self).__call__, "_torchdynamo_disable"):
            type(self).__call__ = torch.compiler.disable(type(self).__call__)  # type: ignore[method-assign, no-untyped-call]
        self._epoch = 0
        self._check_numbers()
        self._check_options()
        self._root = None if self.model is None else unwrap(self.model)

    def _check_numbers(self) -> None:
        """Refuse anything but a number where the default is one."""
        for option in fields(self):
            value = getattr(self, option.name)
            if type(option.default) in (int, float) and (isinstance(value, bool) or not isinstance(value, Real)):
                raise TypeError(f"{option.name} must be a number, got {value!r}")

    def _check_options(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha must be > 0, got {self.alpha}; to train without mixing use the baseline method")
        if self.lam_per not in ("batch", "pair", "sample"):
            raise ValueError(f"lam_per must be 'batch', 'pair' or 'sample', got {self.lam_per!r}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in [0, 1], got {self.probability}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {self.num_classes}")
        if (self.mean is None) != (self.std is None) or (self.std is not None and not min(self.std) > 0):
            raise ValueError(f"mean and std go together, std > 0, got mean={self.mean} and std={self.std}")
        if self.active_epochs is not None:
            start, end = self.active_epochs
            if not 0 <= start < end:
                raise ValueError(f"active_epochs must be (start, end) with 0 <= start < end, got {self.active_epochs}")
        if self.generator.device.type != "cpu":
            raise ValueError(
                f"generator must live on the CPU (same draws on every device), got {self.generator.device}"
            )

    @abstractmethod
    def draw(self, x: Tensor, target: Tensor) -> Draw:
        """Draw everything random about a batch: all randomness of the method and no mathematics."""

    @abstractmethod
    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Mix a batch as drawn: all mathematics of the method and no randomness, so it can be replayed.

        Args:
            x: (B, ...) images; never modified.
            target: (B, K) float32 labels.
            draw: what :meth:`draw` returned, or one made by hand.
        """

    def __call__(self, x: Tensor, y: Tensor) -> MixedBatch:
        """Mix a batch.

        Args:
            x: (B, ...) floating-point images, normalised; never modified.
            y: (B,) class indices, or (B, K) soft or multi-hot labels.

        Raises:
            ValueError: batch sizes differ, labels are out of range, or the number of classes is unknown.
            TypeError: images are not floating point, or labels are one-dimensional floats.
        """
        batch = self.clean(x, y)
        if not self.is_active:
            return batch
        self.prepare(x)
        if not coin(self.probability, generator=self.generator):
            return batch
        return self.mix(x, batch.target, self.draw(x, batch.target))

    def clean(self, x: Tensor, y: Tensor) -> MixedBatch:
        """Return the batch unmixed: ``x`` itself, and its labels as soft labels."""
        if x.shape[:1] != y.shape[:1] or x.ndim < 2:
            raise ValueError(f"images {tuple(x.shape)} and labels {tuple(y.shape)} are not one batch")
        if not x.is_floating_point():
            raise TypeError(f"images must be floating point, got {x.dtype}: convert and normalise them before mixing")
        target = smooth(as_target(y, self.num_classes), self.label_smoothing, multi_label=self.multi_label)
        return MixedBatch(x, target, target, scoped=self.is_scoped)

    def prepare(self, x: Tensor, *others: Any, **options: Any) -> None:  # noqa: B027  (most methods need nothing here)
        """Get ready for the first batch: methods that must see one (to find layers) do it here.

        Args:
            x: (B, ...) images.
            *others: what else the model takes.
            **options: what it takes by name.
        """

    @property
    def has_auxiliary(self) -> bool:
        """The method adds a loss of its own to batches."""
        return False

    @property
    def is_scoped(self) -> bool:
        """Batches of the method must be used through ``with`` and :meth:`MixedBatch.loss`: none of them unpacks."""
        return self.has_auxiliary

    def detach(self) -> None:  # noqa: B027  (most methods leave nothing in a model)
        """Leave the model exactly as it was found; hidden methods have hooks there until then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def pixels(self, x: Tensor) -> Tensor:
        """Undo the normalisation: (B, C, H, W) float32 in [0, 1].

        Raises:
            ValueError: the mixer was not told the normalisation.
        """
        mean, std = self._normalization(x)
        return (x.float() * std + mean).clamp(0, 1)

    def normalized(self, pixels: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) in [0, 1] as the mixer's images are; inverse of :meth:`pixels`.

        Raises:
            ValueError: the mixer was not told the normalisation.
        """
        mean, std = self._normalization(pixels)
        return (pixels - mean) / std

    def _normalization(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise ValueError(
                f"{type(self).__name__} looks at pixels, so it must know how the images were normalised: build it with "
                "mean=... and std=..., those of your Normalize transform; (0.0,) and (1.0,) for images in [0, 1]"
            )
        mean, std = (
            to_device(torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1), x.device)
            for value in (self.mean, self.std)
        )
        return mean, std

    @property
    def is_active(self) -> bool:
        """Mixing is on: the model, if known, is in training mode and the epoch lies in ``active_epochs``."""
        if self._root is not None and not self._root.training:
            return False
        return self.active_epochs is None or self.active_epochs[0] <= self._epoch < self.active_epochs[1]

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, counted from 0, for ``active_epochs``."""
        self._epoch = epoch

    def drop_in(self) -> DropIn:
        """Return a callable ``(x, y) -> (x, target)`` for a training loop that cannot be edited.

        Raises:
            TypeError: the method has an auxiliary loss.
        """
        return DropIn(self)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield parameters of the method's own that the optimiser must also train; most methods have none."""
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random stream and the epoch, for a checkpoint."""
        return {"generator": self.generator.get_state(), "epoch": self._epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the random stream where :meth:`state_dict` was taken."""
        self.generator.set_state(state["generator"].cpu())
        self._epoch = int(state["epoch"])

    def draw_perm(self, size: int) -> Tensor:
        """Draw each sample's partner, (B,) int64 on the CPU; partners are mutual with one λ per pair."""
        draw = matching if self.lam_per == "pair" else permutation
        return draw(size, generator=self.generator)

    def draw_lam(self, perm: Tensor, alpha: float | None = None) -> Tensor:
        """Draw λ ~ Beta(α, α) for each sample, (B,) float64 on the CPU, shared as ``lam_per`` says.

        Args:
            perm: (B,) each sample's partner.
            alpha: None for the mixer's own.
        """
        size = perm.shape[0]
        alpha = self.alpha if alpha is None else alpha
        if self.lam_per == "batch":
            return beta(alpha, 1, generator=self.generator).expand(size)
        lam = beta(alpha, size, generator=self.generator)
        if self.lam_per == "pair":
            lam = lam[torch.minimum(perm, torch.arange(size))]
        return lam


@dataclass(eq=False, kw_only=True)
class PairMixer(Mixer):
    """Base of the methods that mix each sample with one partner and need nothing drawn but λ and the partner."""

    def draw(self, x: Tensor, target: Tensor) -> Draw:
        """Draw partners and mixing coefficients."""
        perm = self.draw_perm(x.shape[0])
        lam = self.draw_lam(perm).float()
        return Draw(lam=to_device(lam, x.device), perm=to_device(perm, x.device))

    def mixed_target(self, target: Tensor, draw: Draw) -> Tensor:
        """Mix the labels by the drawn coefficients, (B, K)."""
        return soft_labels(target, draw.perm, draw.lam)
