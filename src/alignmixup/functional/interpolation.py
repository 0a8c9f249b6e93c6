"""Interpolation of samples with their partners: by a coefficient (mixup) or by a box (CutMix)."""

import torch
from torch import Tensor


def check_pairing(x: Tensor, perm: Tensor, *, what: str) -> None:
    """Raise unless ``x`` is floating point and has one row per entry of ``perm``."""
    if not x.is_floating_point():
        raise TypeError(f"{what} must be floating point, got {x.dtype}: convert and normalise images before mixing")
    if x.ndim == 0 or perm.ndim != 1 or x.shape[0] != perm.shape[0]:
        raise ValueError(f"{what} of shape {tuple(x.shape)} does not match perm of shape {tuple(perm.shape)}")


def lerp(partner: Tensor, first: Tensor, lam: Tensor) -> Tensor:
    """Interpolate, λ first + (1 - λ) partner, with one λ per row; exact at 0 and 1, half precision in float32.

    Args:
        partner: (B, ...) weighed by 1 - λ; a tensor of the caller's own, which may be overwritten.
        first: (B, ...) weighed by λ.
        lam: (B,) in [0, 1].

    Returns:
        (B, ...) of the dtype of ``first``.
    """
    wide = torch.promote_types(first.dtype, torch.float32)
    weight = lam.to(wide).view(-1, *[1] * (first.ndim - 1))
    return partner.to(wide).lerp_(first.to(wide), weight).to(first.dtype)


def partners(x: Tensor, perm: Tensor) -> Tensor:
    """Give each row's partner, ``x[perm]``, as a new tensor of the same memory format."""
    # index_select copies whole rows, in half the time of indexing, but always to a contiguous tensor
    return x.index_select(0, perm) if x.is_contiguous() else x[perm]


def mixup(x: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """Interpolate each sample with its partner: λ x + (1 - λ) x[π].

    Works on images and on hidden feature maps alike; gradients flow into both samples.

    Convention:
        - ``lam`` weighs the first example: 1 returns ``x``, 0 its partner.

    Args:
        x: (B, ...) floating point.
        perm: (B,) int64 partner of each sample.
        lam: (B,) mixing coefficients in [0, 1].

    Returns:
        Shape, dtype and device of ``x``.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: batch sizes differ.

    Source:
        Zhang et al., mixup, ICLR 2018, Eq. (1); Verma et al., Manifold Mixup, ICML 2019, Eq. (2).

    Example:
        >>> import torch
        >>> mixup(torch.tensor([[0.0], [4.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5])).flatten()
        tensor([1., 2.])
    """
    check_pairing(x, perm, what="x")
    return lerp(partners(x, perm), x, lam)


def box_mask(box: Tensor, height: int, width: int) -> Tensor:
    """Turn boxes into masks.

    Convention:
        - the mask is 1 where the FIRST example stays, 0 inside the box.

    Args:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        (B, 1, H, W) bool on the device of ``box``.
    """
    y0, x0, y1, x1 = box.view(-1, 4, 1).unbind(dim=1)
    rows = torch.arange(height, device=box.device)
    columns = torch.arange(width, device=box.device)
    in_rows = (rows >= y0) & (rows < y1)
    in_columns = (columns >= x0) & (columns < x1)
    return ~(in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def box_lam(box: Tensor, height: int, width: int) -> Tensor:
    """Give the share of the image that stays outside each box: the exact label weight of the first example.

    Args:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        (B,) float32 in [0, 1].
    """
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return 1.0 - area.float() / (height * width)


def cutmix(x: Tensor, perm: Tensor, box: Tensor) -> Tensor:
    """Replace a box of each image by the same box of its partner.

    Convention:
        - inside the box stands the partner, outside the first example.

    Args:
        x: (B, C, H, W) images.
        perm: (B,) int64 partner of each image.
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open, one box per image; or (4,) for one box for all.

    Returns:
        Shape, dtype and device of ``x``.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``x`` is not four-dimensional, or batch sizes differ.

    Source:
        Yun et al., CutMix, ICCV 2019, Eq. (1).
    """
    check_pairing(x, perm, what="x")
    if x.ndim != 4:
        raise ValueError(f"cutmix needs images of shape (B, C, H, W), got {tuple(x.shape)}")
    boxes = box.view(-1, 4)
    if _same_on_cpu(boxes):
        y0, x0, y1, x1 = boxes[0].tolist()
        mixed = x.clone()
        mixed[:, :, y0:y1, x0:x1] = x[:, :, y0:y1, x0:x1].index_select(0, perm)
        return mixed
    return torch.where(box_mask(boxes, x.shape[2], x.shape[3]), x, partners(x, perm))


def _same_on_cpu(boxes: Tensor) -> bool:
    """Whether one box serves all images and may be looked at: then its pixels alone need to move."""
    if boxes.device.type != "cpu" or torch.compiler.is_compiling() or len(boxes) == 0:
        return False
    return bool((boxes == boxes[0]).all())
