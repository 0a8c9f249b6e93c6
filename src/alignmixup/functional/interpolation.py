"""Interpolation of samples with their partners: by a coefficient (mixup) or by a box (CutMix)."""

from ctypes import c_float

import torch
from torch import Tensor

from alignmixup.functional.arguments import count, in_forward_mode, integers, paired, readable, transformed, weights
from alignmixup.functional.precision import single, without_autocast

Box = tuple[int, int, int, int]
"""One box in Python's numbers: y0, x0, y1, x1, half-open."""


def lerp(partner: Tensor, first: Tensor, lam: Tensor | float) -> Tensor:
    """Interpolate, λ first + (1 - λ) partner, with one λ per row; exact at 0 and 1, half precision in float32.

    One number for all rows gives the same bits as a tensor of it.

    ``partner`` is the caller's own, and may be overwritten. The result has the dtype of ``first``.
    """
    wide = single(first)
    weight: Tensor | float = lam
    tensors = [partner, first]
    if isinstance(lam, Tensor):
        weight = lam.to(wide.dtype).view(-1, *[1] * (first.ndim - 1))
        tensors.append(lam)
    # vmap can't write several results into one partner
    mix = torch.lerp if transformed(*tensors) else Tensor.lerp_
    return mix(partner.to(wide.dtype), wide, weight).to(first.dtype)


def partners(x: Tensor, perm: Tensor) -> Tensor:
    """Give each row's partner, ``x[perm]``, as a new tensor of the same memory format."""
    # index_select copies whole rows, in half the time of indexing, but always to a contiguous tensor
    return x.index_select(0, perm) if x.is_contiguous() else x[perm]


def mixup(x: Tensor, perm: Tensor, lam: Tensor | float) -> Tensor:
    """Interpolate each sample with its partner: λ x + (1 - λ) x[π].

    Works on images and on hidden feature maps alike; gradients flow into both samples.

    Convention:
        - ``lam`` weighs the first example: 1 returns ``x``, 0 its partner.

    Args:
        x: (B, ...) floating point.
        perm: (B,) integer partner of each sample.
        lam: mixing coefficients in [0, 1], (B,) or one number.

    Returns:
        Shape, dtype and device of ``x``.

    Source:
        Zhang et al., mixup, ICLR 2018, Eq. (1); Verma et al., Manifold Mixup, ICML 2019, Eq. (2).

    Example:
        >>> import torch
        >>> mixup(torch.tensor([[0.0], [4.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5])).flatten()
        tensor([1., 2.])
    """
    perm = paired("x", x, perm)
    return mix_pairs(x, perm, weights("lam", lam, x))


def mix_pairs(x: Tensor, perm: Tensor, lam: Tensor | float) -> Tensor:
    """Interpolate as :func:`mixup` does, with partners and weights, (B,) or one number, that are known to fit."""
    return lerp(partners(x, perm), x, lam)


def combine(x: Tensor, weights: Tensor) -> Tensor:
    """Give convex combinations of all rows: (B, ...) and weights (n, B) give (n, ...), of the dtype of ``x``.

    Computed in float32 at least, whatever autocast does.
    """
    wide = single(x)
    with without_autocast(x):
        mixed = weights.to(wide.dtype) @ wide.flatten(1)
    return mixed.view(len(weights), *x.shape[1:]).to(x.dtype)


def combine_positions(features: Tensor, weights: Tensor) -> Tensor:
    """Give convex combinations of the features at each position, of the dtype of ``features``.

    Args:
        features: (B, C, r).
        weights: (r, n, B), of which rows sum to 1.

    Returns:
        (r n, C): all combinations at the first position, at the second, and so on.
    """
    wide = single(features)
    with without_autocast(features):
        mixed = weights.to(wide.dtype) @ wide.permute(2, 0, 1)
    return mixed.flatten(0, 1).to(features.dtype)


def combine_carried(features: Tensor, weights: Tensor, carried: Tensor) -> Tensor:
    """Give convex combinations at each position as :func:`combine_positions` does, of maps carried to other positions.

    Args:
        features: (B, C, r).
        weights: (r, n, B), of which rows sum to 1.
        carried: (n, B, r, r), what each position of a combination takes from the positions of each map.

    Returns:
        (r n, C).
    """
    everywhere = weights[..., None] * carried.permute(2, 0, 1, 3)  # (r, n, B, r)
    return combine(features.transpose(1, 2).flatten(0, 1), everywhere.flatten(2).flatten(0, 1))


def pooled_attention(features: Tensor) -> Tensor:
    """Tell how much each position of a map (B, C, r) agrees with their mean, as shares (B, r) in float32 at least.

    A share is the scalar product with the mean of all positions where it is positive, divided by their sum.
    """
    wide = single(features)
    with without_autocast(features):
        product = (wide.mean(2, keepdim=True) * wide).sum(1).relu()
    return product / product.sum(1, keepdim=True).clamp_min(torch.finfo(product.dtype).tiny)


def attended(weights: Tensor, attention: Tensor) -> Tensor:
    """Weigh examples (n, B) by their attention at each position, so that weights sum to 1 again: (r, n, B).

    Attention is (B, r), or (n, B, r) where it differs between mixtures. Where no example attends to a position the
    weights stay as they are; so they do where the examples attend a millionth of what they attend on average, which
    may be rounding.
    """
    at_position = weights * attention.expand(len(weights), -1, -1).permute(2, 0, 1)
    total = at_position.sum(2, keepdim=True)
    least = 1e-6 / attention.shape[-1]
    return torch.where(total > least, at_position / total.clamp_min(least), weights)


def paste(x: Tensor, partner: Tensor, mask: Tensor) -> Tensor:
    """Show the first example where a mask is 1 and the partner where it is 0; between, interpolate in float32 at least.

    Args:
        x: (B, C, H, W) the first examples.
        partner: their partners, of the same shape and type.
        mask: (B, 1, H, W) weights of the first example: bool, or floating point in [0, 1].

    Returns:
        Shape, dtype and device of ``x``.
    """
    if mask.dtype == torch.bool:
        return torch.where(mask, x, partner)
    wide = single(x)
    return torch.lerp(partner.to(wide.dtype), wide, mask.to(wide.dtype)).to(x.dtype)


def cell_mask(cells: Tensor, height: int, width: int) -> Tensor:
    """Spread a grid of cells over an image, each pixel the cell it lies in: (B, n, m) gives (B, H, W).

    Where n does not divide H some cells are a pixel higher than others.
    """
    for axis, pixels in ((1, height), (2, width)):
        index = torch.arange(pixels, device=cells.device) * cells.shape[axis] // pixels
        cells = cells.index_select(axis, index)
    return cells


def box_mask(box: Tensor, height: int, width: int) -> Tensor:
    """Turn boxes into masks: 1 where the FIRST example stays, 0 inside the box.

    Args:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        (B, 1, H, W) bool on the device of ``box``.

    Example:
        >>> import torch
        >>> box_mask(torch.tensor([[0, 1, 1, 3]]), 2, 3).int()
        tensor([[[[1, 0, 0],
                  [1, 1, 1]]]], dtype=torch.int32)
    """
    box, _ = _checked(box, height, width)
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

    Example:
        >>> import torch
        >>> box_lam(torch.tensor([[0, 0, 2, 2]]), 4, 4)
        tensor([0.7500])
    """
    box, one = _checked(box, height, width)
    if one is not None:
        return torch.full((box.shape[0],), one_box_lam(one, height, width), dtype=torch.float32, device=box.device)
    sides = box.view(-1, 2, 2)
    return 1.0 - (sides[:, 1] - sides[:, 0]).prod(1).float() / (height * width)


def one_box_lam(box: Box, height: int, width: int) -> float:
    """Give the share outside one box as :func:`box_lam` does, in Python's numbers, rounded as float32 is."""
    y0, x0, y1, x1 = box
    inside = as_float32((y1 - y0) * (x1 - x0)) / as_float32(height * width)
    return as_float32(1.0 - as_float32(inside))


def as_float32(number: float) -> float:
    """Round a number as a float32 tensor would."""
    return c_float(number).value


def cutmix(x: Tensor, perm: Tensor, box: Tensor) -> Tensor:
    """Replace a box of each image by the same box of its partner.

    Convention:
        - inside the box stands the partner, outside the first example.

    Args:
        x: (B, C, H, W) images.
        perm: (B,) integer partner of each image.
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open, one box per image; or (4,) for one box for all.

    Returns:
        Shape, dtype and device of ``x``.

    Source:
        Yun et al., CutMix, ICCV 2019, Eq. (1).

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
        >>> cutmix(x, torch.tensor([1, 0]), torch.tensor([0, 0, 1, 2]))[0]
        tensor([[[2., 2.],
                 [1., 1.]]])
    """
    perm = paired("x", x, perm, "B C H W")
    if isinstance(box, Tensor) and box.ndim == 1:
        box = box[None]
    boxes, one = _checked(box, *x.shape[2:])
    if boxes.shape[0] not in (1, x.shape[0]):
        raise ValueError(f"box must have shape (B, 4) with B = {len(x)}, or (4,), got {tuple(box.shape)}")
    if boxes.device != x.device:
        raise ValueError(f"box is on {boxes.device}, x on {x.device}: move it with box.to({str(x.device)!r})")
    if one is None or in_forward_mode() or transformed(x, perm):
        return torch.where(box_mask(boxes, x.shape[2], x.shape[3]), x, partners(x, perm))
    return paste_one(x, perm, one)


def paste_one(x: Tensor, perm: Tensor, box: Box) -> Tensor:
    """Paste one box for all images, of which its pixels alone need to move."""
    y0, x0, y1, x1 = box
    inside, mixed = x[:, :, y0:y1, x0:x1], x.clone()
    if mixed.requires_grad:
        mixed[:, :, y0:y1, x0:x1] = inside.index_select(0, perm)
    else:  # without a copy between, which autograd needs
        torch.index_select(inside, 0, perm, out=mixed[:, :, y0:y1, x0:x1])
    return mixed


def _checked(box: Tensor, height: int, width: int) -> tuple[Tensor, Box | None]:
    """Boxes as int64, on the CPU inside the image; and the one box that serves all, where that can be seen."""
    height, width = count("height", height), count("width", width)
    box = integers("box", box, "B 4")
    if not box.shape[0] or not readable(box):
        return box, None
    is_one = box.stride(0) == 0 or box.shape[0] == 1
    seen = (box[:1] if is_one else box).tolist()
    for y0, x0, y1, x1 in seen:
        if not (0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width):
            raise ValueError(
                f"a box must be y0, x0, y1, x1 with 0 <= y0 <= y1 <= {height} and 0 <= x0 <= x1 <= {width}, "
                f"got {[y0, x0, y1, x1]}: clip it to the image"
            )
    return box, tuple(seen[0]) if all(other == seen[0] for other in seen) else None
