"""Labels as distributions: one-hot, smoothing and the mixture of two samples' labels."""

import math

import torch
from torch import Tensor

from alignmixup.functional.arguments import count, floating, integers, paired, readable, transformed, weights
from alignmixup.functional.interpolation import partners


def one_hot(y: Tensor, num_classes: int) -> Tensor:
    """Turn class indices into float32 rows with a single 1.

    Args:
        y: (B,) integer class indices in [0, num_classes).
        num_classes: number of classes K.

    Returns:
        (B, K) float32 on the device of ``y``.

    Raises:
        TypeError: ``y`` holds no integers.
        ValueError: ``y`` is not (B,), or an index is out of range (on the CPU; elsewhere the device asserts, so that
            nothing waits).

    Example:
        >>> import torch
        >>> one_hot(torch.tensor([2, 0]), 3)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    y, num_classes = integers("y", y, "B"), count("num_classes", num_classes)
    rows = torch.zeros(y.shape[0], num_classes, dtype=torch.float32, device=y.device)
    if not readable(y) and not transformed(y):
        in_range = ((y >= 0) & (y < num_classes)).all()
        torch._assert_async(in_range, f"a label is out of range for num_classes={num_classes}")
    # vmap can't write several batches into one tensor
    put = Tensor.scatter if transformed(y) else Tensor.scatter_
    try:
        return put(rows, 1, y.unsqueeze(1), 1.0)  # on the CPU it looks at every index itself
    except RuntimeError:
        if not readable(y):
            raise
        bad = next((label for label in map(int, y.aminmax()) if not 0 <= label < num_classes), None)
        if bad is None:
            raise
        ignored = bad < 0 or bad == 255  # as losses ignore it
        way_out = f"; leave out samples without a label: keep = y != {bad}, x[keep], y[keep]" if ignored else ""
        raise ValueError(
            f"label {bad} is out of range for num_classes={num_classes}: expected 0 to {num_classes - 1}{way_out}"
        ) from None


def smooth(target: Tensor, amount: float, *, multi_label: bool = False) -> Tensor:
    """Move a share of the label mass to a uniform distribution.

    Args:
        target: (B, K) soft labels.
        amount: share moved, in [0, 1).
        multi_label: each class is a yes/no question of its own, so the mass moves towards 1/2 instead of 1/K; a single
            column is one in any case.

    Returns:
        (B, K) smoothed labels; rows keep their sum, but for those of yes/no questions.

    Example:
        >>> import torch
        >>> smooth(torch.tensor([[1.0, 0.0]]), 0.2)
        tensor([[0.9000, 0.1000]])
    """
    floating("target", target, "B K")
    if not 0 <= amount < 1:
        raise ValueError(f"amount must be in [0, 1), got {amount}")
    if amount == 0:
        return target
    uniform = 0.5 if multi_label or target.shape[1] == 1 else 1.0 / target.shape[1]
    return target * (1.0 - amount) + amount * uniform


def as_target(y: Tensor, num_classes: int | None) -> Tensor:
    """Accept class indices, soft labels or multi-hot labels; return float32 rows.

    Args:
        y: (B,) integer class indices, or (B, K) of any dtype.
        num_classes: K; needed for class indices, checked against the second axis otherwise.

    Returns:
        (B, K) float32.

    Raises:
        ValueError: class indices without ``num_classes``, a wrong number of columns or of axes; on the CPU also a
            negative label (but in one column, which may be a regression's), NaN or infinity.
        TypeError: one-dimensional floating labels.
    """
    if not isinstance(y, Tensor) or y.is_complex():
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"labels must be a tensor of class indices or of real soft labels, got {kind}")
    if y.ndim == 2:
        if num_classes is not None and y.shape[1] != num_classes:
            hint = ": class indices are (B,), as y.squeeze(1)" if y.shape[1] == 1 else ""
            raise ValueError(f"labels have {y.shape[1]} columns, but num_classes={num_classes}{hint}")
        target = y.float()  # first: torch finds no extremes of wide unsigned integers, and large numbers may overflow
        if readable(y) and y.numel():
            least, largest = map(float, target.detach().aminmax())
            if not (math.isfinite(least) and math.isfinite(largest)) or (y.shape[1] > 1 and least < 0):
                wrong = largest if math.isinf(largest) and least >= 0 else least
                raise ValueError(
                    f"soft and multi-hot labels must be finite and >= 0, got {wrong}: leave out samples whose labels "
                    "are unknown, or for regression build the mixer with targets='values'"
                )
        return target
    if y.ndim != 1:
        raise ValueError(f"labels must be (B,) class indices or (B, K) soft labels, got shape {tuple(y.shape)}")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise TypeError(
            f"one-dimensional labels must be integer class indices, got {y.dtype}; "
            "for regression build the mixer with targets='values'; a single binary output is (B, 1)"
        )
    if num_classes is None:
        raise ValueError("integer labels need num_classes=...; or pass soft labels of shape (B, K)")
    return one_hot(y, num_classes)


def as_values(y: Tensor, columns: int | None = None) -> Tensor:
    """Accept what a regression predicts: real numbers of any sign.

    Args:
        y: (B,) or (B, D) of any real dtype.
        columns: D, if known.

    Returns:
        (B, D) float32; D is 1 for (B,).

    Raises:
        TypeError: complex numbers.
        ValueError: another number of axes or of columns; on the CPU also NaN or infinity.

    Example:
        >>> import torch
        >>> as_values(torch.tensor([-1.5, 20.0]))
        tensor([[-1.5000],
                [20.0000]])
    """
    if y.is_complex():
        raise TypeError(f"values must be real numbers, got {y.dtype}")
    if y.ndim not in (1, 2):
        raise ValueError(f"values must be (B,) or (B, D), one or several numbers an image, got shape {tuple(y.shape)}")
    values = y.float() if y.ndim == 2 else y.float()[:, None]
    if columns is not None and values.shape[1] != columns:
        raise ValueError(
            f"values have {values.shape[1]} columns, but num_classes={columns}: with targets='values' leave it out"
        )
    if readable(y) and not bool(values.isfinite().all()):
        raise ValueError(
            "values must be finite, and some are NaN or infinite: leave out images whose values are unknown"
        )
    return values


def soft_labels(y: Tensor, perm: Tensor, lam: Tensor | float, num_classes: int | None = None) -> Tensor:
    """Mix the labels of each sample and its partner: λ y + (1 - λ) y[π].

    Convention:
        - ``lam`` weighs the first example.

    Args:
        y: (B,) class indices or (B, K) soft labels.
        perm: (B,) integer partner of each sample.
        lam: weight of the first example in [0, 1], (B,) or one number.
        num_classes: K, for class indices.

    Returns:
        (B, K) float32; rows sum to 1 if those of ``y`` do.

    Source:
        Zhang et al., mixup, ICLR 2018, Eq. (1).

    Example:
        >>> import torch
        >>> soft_labels(torch.tensor([0, 1]), torch.tensor([1, 0]), 0.75, num_classes=3)
        tensor([[0.7500, 0.2500, 0.0000],
                [0.2500, 0.7500, 0.0000]])
    """
    target = as_target(y, num_classes)
    perm = paired("y", target, perm)
    return torch.lerp(partners(target, perm), target, weights("lam", lam, target)[:, None])


def visible_lam(masks: Tensor, shown: Tensor, weights: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Weigh each label by how much of its object can be seen, in place of the area of its image.

    With m the object masks, M the weights of the first example and S the masks mixed as the images are, the share of
    the first example is Σ M m / Σ S: its visible object pixels among all visible object pixels.

    Args:
        masks: (B, H, W) floating point in [0, 1], 1 where the object of an image is.
        shown: (B, H, W) the masks after mixing, the partner's moved as its image is.
        weights: (B, H, W) weights of the first example.
        perm: (B,) partner of each sample.
        lam: (B,) share by area: it holds where no object is visible, and where one of the two images has an empty mask,
            which says nothing about where its object is.

    Returns:
        (B,) float32 in [0, 1].

    Source:
        Nauen et al., OA-CutMix: Correcting the Label Bias of CutMix, 2026 (arXiv 2606.04820). What holds without a
        visible object is ours.
    """
    own, total = (masks * weights).sum((1, 2)), shown.sum((1, 2))
    known = masks.amax((1, 2)) > 0
    known = known & known[perm] & (total > 0)
    return torch.where(known, own / total.clamp_min(1e-12), lam).clamp(0, 1).float()
