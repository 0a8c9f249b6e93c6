"""Input gradients of a classifier's loss, found without a trace on the model; the mixers' gradient saliency."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from alignmixup.modules import evaluation_flags
from alignmixup.options import Options, option
from alignmixup.taps import FeatureTap, find_logits, unwrap
from alignmixup.taps.quiet import no_kept_weights, own_attributes, own_buffers

CleanScale = Literal["bce_softmax", "cross_entropy"]
Auxiliary = Callable[[], Tensor]


@dataclass(kw_only=True)
class CleanLoss(Options):
    """A loss of the clean images, of whose gradients one backward pass finds those of the saliency too."""

    clean_lam: float = option(
        0.0,
        "weight c of the clean images' loss as a further loss term, >= 0; where it is > 0 the saliency is found in "
        "training mode, and the batch does not unpack",
        minimum=0,
    )
    clean_scale: CleanScale = option(
        "bce_softmax",
        'the criterion whose scale that term matches: "bce_softmax" for 2 c CE / K, "cross_entropy" for c CE; of '
        "yes/no questions (multi_label, or a single column) c times the mean or the sum of their BCE",
        paper="that of the recipe's own loss",
    )

    def gradient_options(self) -> dict[str, Any]:
        """Return the keywords of :func:`input_gradient`: in eval mode where there is no clean loss."""
        weight, scale = self.clean_lam, self.clean_scale
        return {"train_statistics": weight > 0, "clean_weight": weight, "clean_scale": scale}


class _StoredGradients(torch.autograd.Function):
    """A known scalar whose gradients with respect to some parameters are known too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *torch._foreach_mul(ctx.saved_tensors, outer[0])


@contextmanager
def _borrowed(root: nn.Module, *, train_statistics: bool) -> Iterator[None]:
    """Run the model without a trace: training flags, buffers, attributes and parameter hooks come back as they were.

    The backward pass belongs inside as well: a checkpointed segment runs its forward again there.
    """
    # autograd.grad runs a parameter's hooks, which are due once, when its whole gradient arrives
    hooked = [(p, hooks) for p in root.parameters() if (hooks := p._backward_hooks)]
    tap = FeatureTap.of(root)
    nothing: dict[str, Any] = {}
    tap.push(nothing)  # hides an enclosing batch's hidden mixing
    try:
        for parameter, _ in hooked:
            parameter._backward_hooks = None
        # compiled, the backward would find the gradients of all parameters, wanted or not
        with (
            no_kept_weights(),
            own_attributes(root),
            own_buffers(root) if train_statistics else evaluation_flags(root),  # eval mode updates none
            torch.compiler.set_stance("force_eager"),
            torch.enable_grad(),
        ):
            yield
    finally:
        for parameter, hooks in hooked:
            parameter._backward_hooks = hooks
        tap.pop(nothing, check=False)


def _leaf(root: nn.Module, x: Tensor) -> Tensor:
    """The images as a leaf of a new graph, in their own precision if the model has parameters of it, else in theirs."""
    dtypes = dict.fromkeys(p.dtype for p in root.parameters() if p.is_floating_point())
    dtype = x.dtype if x.dtype in dtypes else next(iter(dtypes), x.dtype)
    return x.detach().to(dtype).requires_grad_()


def _logits(root: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Run the model on images alone and find its logits."""
    name = type(root).__name__
    try:
        inspect.signature(root.forward).bind(images)
    except TypeError as error:
        raise TypeError(
            f"gradient saliency runs the model on the images alone, and {name}.forward takes more ({error}): wrap "
            "it in a module whose forward(x) adds the rest"
        ) from None
    output = root(images)
    logits = find_logits(output, classes)
    if logits is None or logits.ndim != 2 or logits.shape != (images.shape[0], classes):
        got = type(output).__name__ if logits is None else f"shape {tuple(logits.shape)}"
        raise TypeError(
            f"gradient saliency needs logits of shape {(images.shape[0], classes)} from {name}, alone, as .logits, as "
            f"['logits'] or in a tuple; got {got}"
        )
    if not logits.requires_grad:
        raise _no_gradient(root)
    return logits


def _no_gradient(root: nn.Module) -> ValueError:
    return ValueError(
        f"no gradient of the loss reaches the images through {type(root).__name__}: part of it runs under "
        "torch.no_grad() or on detached features, so gradient saliency cannot be found; let gradients through in its "
        "forward (requires_grad_(False) freezes parameters as well), or use a method that needs none, such as CutMix"
    )


def input_gradient(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    train_statistics: bool,
    clean_weight: float = 0.0,
    clean_scale: CleanScale = "bce_softmax",
    multi_label: bool = False,
) -> tuple[Tensor, Auxiliary | None]:
    """Differentiate the clean images' cross-entropy with respect to the images: Σᵢ CEᵢ, so sample by sample.

    Of yes/no questions (``multi_label``, or a single column) it is the sum of their binary cross-entropies: a softmax
    would make one class of them.

    Nothing of the model changes: ``.grad``, buffers, training flags and ``requires_grad`` are as before. It works
    under ``torch.no_grad()`` and under autocast, and runs the model eagerly, without its wrappers. Layers that draw
    (dropout) draw from torch's global generator in the training pass, as in any forward.

    Args:
        model: the classifier, wrapped or not; its output holds (B, K) logits, alone, as ``.logits``, as
            ``["logits"]`` or in a tuple.
        x: (B, C, H, W) floating-point images, normalised; never modified.
        target: (B, K) labels.
        train_statistics: True runs the model as it stands, in training mode (batch statistics; its running ones are
            not updated); False in eval mode.
        clean_weight: weight c >= 0 of the clean images' loss as a further term. Where it is 0 the gradients of the
            parameters are not computed; else the one backward pass finds them too, and they are kept (one copy of
            the parameters) until the term is back-propagated.
        clean_scale: the criterion whose scale the term matches: ``"bce_softmax"`` for mean(2 c CEᵢ / K),
            ``"cross_entropy"`` for mean(c CEᵢ). Of K yes/no questions mean(c BCEᵢ / K) and mean(c BCEᵢ).
        multi_label: each class is a yes/no question of its own.

    Returns:
        The gradient, (B, C, H, W) float32 (float64 for a float64 model), detached; 0 where half precision overflows.
        And None, or a function giving the clean term as a scalar: its backward hands out the stored gradients, so
        that loss scaling, accumulation and DistributedDataParallel's averaging see them like any others.

    Raises:
        ValueError: ``x`` is not four-dimensional, ``clean_weight`` is negative, or no gradient reaches the images.
        TypeError: the model takes more than images, or returns no logits (B, K).
    """
    if x.ndim != 4:
        raise ValueError(f"gradient saliency needs images of shape (B, C, H, W), got {tuple(x.shape)}")
    if clean_weight < 0:
        raise ValueError(f"clean_weight must be >= 0, got {clean_weight}")
    root, questions = unwrap(model), multi_label or target.shape[1] == 1
    parameters = [p for p in root.parameters() if p.requires_grad] if clean_weight > 0 else []
    # Float16 gradients of a mean loss underflow. Powers of two are exact. The gradients of parameters are sums over the
    # batch, so with them the scale is that of a mean loss times 1024, which does not overflow.
    scale = 2.0 ** (7 if clean_weight == 0 else 10 - (x.shape[0] - 1).bit_length())
    with _borrowed(root, train_statistics=train_statistics):
        images = _leaf(root, x)
        logits = _logits(root, images, target.shape[1])
        wide = torch.promote_types(logits.dtype, torch.float32)
        criterion = F.binary_cross_entropy_with_logits if questions else F.cross_entropy
        loss = criterion(logits.to(wide), target.to(wide), reduction="sum")
        gradient, *found = torch.autograd.grad(loss * scale, [images, *parameters], allow_unused=True)
    if gradient is None:
        raise _no_gradient(root)
    wide = torch.promote_types(gradient.dtype, torch.float32)
    gradient = (gradient.to(wide) / scale).nan_to_num_(0.0, 0.0, 0.0)
    if clean_weight == 0:
        return gradient, None
    of_classes = (1 if questions else 2) / logits.shape[1] if clean_scale == "bce_softmax" else 1.0
    factor = clean_weight / x.shape[0] * of_classes
    used = [(p, g) for p, g in zip(parameters, found, strict=True) if g is not None]
    stored = torch._foreach_mul([g for _, g in used], factor / scale) if used else ()
    value = loss.detach() * factor

    def auxiliary() -> Tensor:
        term: Tensor = _StoredGradients.apply(value, stored, *[p for p, _ in used])
        return term

    return gradient, auxiliary


def input_saliency(model: nn.Module, x: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Auxiliary | None]:
    """Find how much each pixel matters to the loss, of :func:`input_gradient`, whose arguments these are.

    Returns:
        Saliency (B, H, W) float32 >= 0, detached, not normalised; and the clean loss term, None without weight.

    Source:
        Kim et al., Puzzle Mix, ICML 2020, section 4, and its published code; Simonyan et al., 2013.
    """
    gradient, auxiliary = input_gradient(model, x, target, **options)
    return saliency_of(gradient), auxiliary


def saliency_of(gradient: Tensor) -> Tensor:
    """Reduce an input gradient (B, C, H, W) to a saliency map, (B, H, W) float32: root mean square over channels."""
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (norm / math.sqrt(gradient.shape[1])).float()
