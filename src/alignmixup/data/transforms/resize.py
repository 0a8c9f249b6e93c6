"""Change of size of images in memory."""

import torch.nn.functional as F
from torch import Tensor

from alignmixup.data.memory import check_memory

__all__ = ["enlarge", "resize"]


def resize(images: Tensor, image_size: int) -> Tensor:
    """Images (N, C, H, W), uint8 or float32, scaled to a square of ``image_size`` >= 1 pixels, bilinear with
    antialiasing.

    The type stays; where nothing changes, these are ``images`` themselves.

    Raises:
        ValueError: more than this machine's memory can hold.
    """
    if images.shape[2:] == (image_size, image_size):
        return images
    check_memory(len(images), images.shape[1], image_size, bytes_each=images.element_size())
    size = (image_size, image_size)
    resized = images.new_empty(*images.shape[:2], *size)
    for start in range(0, len(images), 4096):  # by parts, so that no float copy of the whole set is made
        part = slice(start, start + 4096)
        resized[part] = F.interpolate(images[part], size=size, mode="bilinear", antialias=True)
    return resized


def enlarge(images: Tensor, image_size: int) -> Tensor:
    """Images (N, C, H, H) uint8 enlarged by the largest whole factor that fits, in zeros.

    8x8 images become 16x16 by factor 2, 12x12 by a margin of 2 zeros.

    Raises:
        ValueError: ``image_size`` smaller than the images, or more than this machine's memory can hold.
    """
    side = images.shape[-1]
    if image_size < side:
        raise ValueError(f"image_size must be >= {side}, the size of the images, got {image_size}")
    check_memory(len(images), images.shape[1], image_size)
    factor = image_size // side
    bigger = images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    rest = image_size - factor * side
    return F.pad(bigger, (rest // 2, rest - rest // 2) * 2).contiguous()
