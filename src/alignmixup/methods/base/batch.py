"""MixedBatch: what a mixer returns. A frozen value that is also the scope in which hidden mixing is live."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alignmixup.methods.base.annotations import Annotations, MixedBoxes, Parents
from alignmixup.taps import Attachment, FeatureTap, Hidden, LayerMix

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """Everything random about one batch; ``mixer.mix(x, target, draw)`` replays it.

    Attributes:
        lam: (B,) float32 weight of the first example.
        perm: (B,) int64 partner of each sample.
    """

    lam: Tensor
    perm: Tensor


class LateLabels:
    """Labels that only the forward pass finds: a hidden function calls :meth:`find`, and the loss uses :attr:`found`.

    Args:
        early: (B, K) ``target`` of the batch until then, which changes in place; None where the model returns other
            rows than it was given, so that no drop-in can hand their labels out before.
    """

    def __init__(self, early: Tensor | None = None) -> None:
        self.early = early
        self._found: Tensor | None = None

    def find(self, target: Tensor) -> None:
        """Say what the labels are, (rows, K): of several forward passes the last one's."""
        self._found = target
        if self.early is not None:
            self.early.copy_(target)

    @property
    def found(self) -> Tensor:
        """The labels, (rows, K), never changed later.

        Raises:
            RuntimeError: the model has not seen the batch.
        """
        if self._found is None:
            raise RuntimeError(
                "the labels of this batch are found by the forward pass: call model(batch.x) inside the `with mixer(x, "
                "y) as batch:` block, with model.train(), before batch.loss(...)"
            )
        return self._found


class _Block:
    """Whether the block of a batch was entered; it goes with the last copy of the batch.

    Attributes:
        entered: it was.
        tap: where it is mixed inside the model.
    """

    def __init__(self, entered: bool = False) -> None:
        self.entered = entered
        self.tap: Attachment | FeatureTap | None = None

    def __del__(self) -> None:
        # whoever read only the batch's target has trained with mixed labels and features that were not
        if self.tap is not None and not self.entered:
            self.tap.tell_never_entered()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Block, (self.entered,)


@dataclass(frozen=True, eq=False)
class MixedBatch:
    """A mixed batch, and the scope in which its hidden-layer mixing is live.

    Use it as a context manager around the forward and the backward pass (activation checkpointing runs the
    forward again inside the backward)::

        with mixer(x, y) as batch:
            loss = batch.loss(model(batch.x), criterion)
            loss.backward()

    The batches of a method that only ever mixes the input also unpack: ``x, target = mixer(x, y)``.

    Attributes:
        x: (B, ...) images to feed to the model; the caller's own tensor where nothing is mixed at the input.
        target: (B, K) float32 labels of the mixed samples; (n, K) where B embeddings make n mixtures (MultiMix).
        clean_target: (B, K) float32 labels of the first examples.
        draw: what was drawn, of a kind of each method's own; None for a batch that is not mixed.
        hidden: layer name -> function applied to that layer's output while the block is open.
        auxiliary: scalar loss term of the method, or None.
        lam: (B,) weights of the first examples in ``target``: 1 where a batch is not mixed. A method that finds them
            from the images gives them, for others they are those of ``draw``. With more than two parents it is the
            weight of the example of the same number (Co-Mixup), or (n,) of a mixture's heaviest example (MultiMix).
        pairwise: each mixed sample has two parents; False where there may be more.
        mask: for pictures and masks, gives what each place shows: (B, h, w) weights of the first example, or
            (B, h, w, m) weights of the m inputs of the sample's group; None where one λ holds everywhere.
        clean_weight: share of the clean images in the loss, where they stand in front of as many mixtures: ``x``,
            ``target``, ``clean_target`` and ``lam`` then have 2 B rows (RegMixup). None where all rows are mixtures.
        parents: where the samples show their two parents, so that annotations can follow; None for a batch that is not
            mixed, and for methods whose annotations cannot.
        annotations: masks and boxes that came with the images.
        values: ``target`` and ``clean_target`` hold real numbers of a regression, (B,) or (B, D) as they came.
        scoped: the method mixes some batches inside the model or adds a loss to them, so that none of them unpacks.
        late: the labels of the rows that the model returns, where only its forward pass finds them (TransMix, Dense
            MultiMix); None where they are ``target``.

    Example:
        >>> import torch
        >>> from alignmixup import Mixup
        >>> batch = Mixup(num_classes=2, seed=0)(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
        >>> lam, own = batch.lam[:, None], batch.clean_target
        >>> torch.allclose(batch.target, lam * own + (1 - lam) * own[batch.perm])
        True
    """

    x: Tensor
    target: Tensor
    clean_target: Tensor
    draw: Any = None
    hidden: Mapping[str, Hidden | LayerMix] = field(default_factory=dict)
    auxiliary: Callable[[], Tensor] | None = None
    lam: Tensor = None  # type: ignore[assignment]  # never None once it is made
    pairwise: bool = True
    mask: Callable[[], Tensor] | None = None
    clean_weight: float | None = None
    parents: Parents | None = field(default=None, repr=False)
    annotations: Annotations | None = field(default=None, repr=False)
    tap: Attachment | FeatureTap | None = field(default=None, repr=False)
    values: bool = field(default=False, repr=False)
    scoped: bool = field(default=False, repr=False)
    late: LateLabels | None = field(default=None, repr=False)
    _block: _Block = field(default_factory=_Block, repr=False)  # of it and of copies

    def __post_init__(self) -> None:
        if self.mixed and self.hidden:
            self._block.tap = self.tap
        if self.lam is None:
            lam = self.target.new_ones(self.target.shape[0]) if self.draw is None else self.draw.lam
            object.__setattr__(self, "lam", lam)

    @property
    def mixed(self) -> bool:
        """Tell whether the samples are mixed: False in eval mode, for a clean batch, or for a baseline."""
        return self.draw is not None and not getattr(self.draw, "clean", False)

    @cached_property
    def masks(self) -> Tensor | None:
        """The masks that came with the images, mixed as the images are; None if none came.

        Shape, dtype and device as given. Float masks are weighed as the images are. Masks of integers or booleans are
        pasted, by methods that show one image at each place.

        Raises:
            ValueError: masks of integers or booleans, where samples show both images at one place.
            RuntimeError: the batch is aligned inside the model, which has not seen it yet.
        """
        return None if self.annotations is None else self.annotations.mixed_masks(self)

    @cached_property
    def boxes(self) -> list[MixedBoxes] | None:
        """What the samples show of the boxes that came with the images, one entry a sample; None if none came.

        Boxes that cannot be seen at all are left out. Waits for the device.

        Raises:
            RuntimeError: the batch is aligned inside the model, which has not seen it yet.
        """
        return None if self.annotations is None else self.annotations.mixed_boxes(self)

    @property
    def perm(self) -> Tensor:
        """Partner of each sample, (B,) int64: itself where it is not mixed.

        Raises:
            TypeError: the samples have more than two parents.
        """
        if not self.pairwise:
            raise TypeError(
                "samples of this batch are mixed from more than two: there are no pairs of labels; use the criterion "
                "with `target`, in batch.loss(logits, criterion)"
            )
        if self.draw is None:
            return torch.arange(self.target.shape[0], device=self.target.device)
        perm: Tensor = self.draw.perm
        # mixtures behind the clean images have their partners among these
        return perm if self.clean_weight is None else torch.cat((torch.arange(len(perm), device=perm.device), perm))

    @property
    def output_target(self) -> Tensor:
        """Labels of the rows that the model returns, float32: ``target``, but (n r, K) with dense mixtures.

        Raises:
            RuntimeError: they are found by the forward pass, which is still to come.
        """
        return self.target if self.late is None else self.late.found.view(-1, *self.target.shape[1:])

    def __enter__(self) -> "MixedBatch":
        if self.tap is not None:
            self._block.entered = True
            self.tap.push(self.hidden)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.tap is not None:
            self.tap.pop(self.hidden, check=kind is None)

    def __iter__(self) -> Iterator[Tensor]:
        if self.scoped or self.hidden or self.auxiliary is not None:
            raise TypeError(
                "batches of this method are mixed inside the model, have an auxiliary loss or weigh two (any of them "
                "may), so they cannot be unpacked: write "
                "`with mixer(x, y) as batch: loss = batch.loss(model(batch.x), criterion); loss.backward()`, or use "
                "`mixer.drop_in()` in a loop you cannot edit"
            )
        return iter((self.x, self.target))

    def loss(self, logits: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        """Compute the loss of the mixed batch: ``criterion(logits, target)`` plus the method's auxiliary term.

        Args:
            logits: (B, K) output of the model: a row for each of :attr:`output_target`.
            criterion: takes logits and soft targets, e.g. ``nn.CrossEntropyLoss()`` or ``nn.BCEWithLogitsLoss()``.

        Returns:
            Scalar. With class weights w it is a mean over Σ w_k target_k, as torch divides for class indices (for soft
            labels it divides by B), and so equal to λ CE(first) + (1 - λ) CE(partner) with one λ.

        Raises:
            RuntimeError: features are to be mixed, and the batch's block was never entered.
            ValueError: the criterion ignores a class, which torch does for class indices alone; it is a cross-entropy
                and the target holds values or a single column; or it would stretch values over predictions of another
                shape.
        """
        if self.mixed and self.hidden and self.late is None and not self._block.entered:
            raise RuntimeError(
                "the labels of this batch are mixed, and its features only in its block: write `with mixer(x, y) as "
                "batch: loss = batch.loss(model(batch.x), criterion); loss.backward()`"
            )
        weight, ignored, reduction = _cross_entropy_options(criterion)
        if self.values and reduction:
            raise ValueError(
                "cross-entropy is of labels, and the targets are values: name a criterion, batch.loss(predictions, "
                "torch.nn.functional.mse_loss)"
            )
        if not self.values and reduction and self.target.shape[1] == 1:
            raise ValueError(
                "cross-entropy of a single column is 0 whatever the label is: name a criterion of yes/no questions, "
                "batch.loss(logits, torch.nn.functional.binary_cross_entropy_with_logits)"
            )
        if not self.values and 0 <= ignored < self.target.shape[1]:
            raise ValueError(
                f"cross-entropy with ignore_index={ignored} does not go with mixed labels: give that class the weight 0"
            )

        def of(logits: Tensor, target: Tensor) -> Tensor:
            if self.values and isinstance(logits, Tensor):
                target = _fitting(target, logits, criterion)
            loss = criterion(logits, target)
            if weight is not None and reduction == "mean":
                loss = loss * (len(target) / (target @ weight.to(target)).sum())
            return loss

        if self.clean_weight is None:
            loss = of(logits, self.output_target)
        else:
            clean, mixed = map(of, logits.chunk(2), self.target.chunk(2))
            loss = self.clean_weight * clean + (1 - self.clean_weight) * mixed
        return loss if self.auxiliary is None else loss + self.auxiliary()

    def pair_targets(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give the labels as pairs, for criteria that are not linear in the target (focal, margin, regression).

        The loss is then ``lam * criterion(logits, first) + (1 - lam) * criterion(logits, partner)`` per sample.

        Returns:
            Labels of the first examples (B, K), of their partners (B, K), and the first's weights (B,); values in the
            shape in which they came.

        Raises:
            TypeError: the samples have more than two parents.
        """
        return self.clean_target, self.clean_target[self.perm], self.lam


def _cross_entropy_options(criterion: Criterion) -> tuple[Tensor | None, int, str]:
    """Class weights, ignored class and reduction of a cross-entropy, as a module or as a partial of the function."""
    if isinstance(criterion, nn.CrossEntropyLoss):
        return criterion.weight, criterion.ignore_index, criterion.reduction
    if _function(criterion) is F.cross_entropy:
        known = criterion.keywords if isinstance(criterion, partial) else {}
        return known.get("weight"), known.get("ignore_index", -100), known.get("reduction", "mean")
    return None, -100, ""


def _function(criterion: Criterion) -> Criterion:
    return criterion.func if isinstance(criterion, partial) else criterion


_ELEMENTWISE = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_ELEMENTWISE_FUNCTIONS = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)


def _fitting(target: Tensor, predictions: Tensor, criterion: Criterion) -> Tensor:
    """Give values the shape of predictions: (B,) and (B, 1) are the same numbers, and torch would make (B, B) of them.

    Raises:
        ValueError: the criterion compares number with number, and they are of another shape still.
    """
    shape = predictions.shape
    if shape == (*target.shape, 1) or (*shape, 1) == target.shape:
        return target.view(shape)
    elementwise = isinstance(criterion, _ELEMENTWISE) or _function(criterion) in _ELEMENTWISE_FUNCTIONS
    if elementwise and shape != target.shape:
        raise ValueError(
            f"predictions {tuple(shape)} and values {tuple(target.shape)} differ in shape: give the model an "
            f"output for each value, (B, {target.shape[1] if target.ndim > 1 else 1})"
        )
    return target
