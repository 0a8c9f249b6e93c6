"""Masks of objects that come with a batch."""

import torch
from torch import Tensor

from alignmixup.functional.arguments import FLOATING, readable


def object_masks(x: Tensor, masks: Tensor) -> Tensor:
    """Check where the objects of images (B, C, H, W) are, (B, H, W) or (B, 1, H, W); give it as (B, H, W) float32.

    Raises:
        ValueError: another size or device, or, on the CPU, values that are not in [0, 1].
        TypeError: no tensor, or whole numbers, which may be classes or grey levels.
    """
    if not isinstance(masks, Tensor):
        raise TypeError(f"masks must be a tensor, got {type(masks).__name__}: use torch.as_tensor")
    if masks.dtype != torch.bool and masks.dtype not in FLOATING:
        raise TypeError(f"masks must be bool or in [0, 1], got {masks.dtype}: compare them, as masks > 0")
    sizes = (x.shape[0], *x.shape[2:])
    if masks.shape not in (sizes, (sizes[0], 1, *sizes[1:])):
        raise ValueError(f"masks of images {tuple(x.shape)} must have shape {sizes}, got {tuple(masks.shape)}")
    if masks.device != x.device:
        raise ValueError(f"masks are on {masks.device}, images on {x.device}: move them, masks.to({str(x.device)!r})")
    masks = masks.detach().reshape(sizes).float()
    if masks.numel() and readable(masks):
        least, largest = map(float, masks.aminmax())
        if not (least >= 0 and largest <= 1):  # NaN compares as false
            raise ValueError(
                f"masks must be in [0, 1], got values from {least} to {largest}: compare them, as masks > 0"
            )
    return masks
