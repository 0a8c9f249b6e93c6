"""Crops and flips of a whole batch at once, without a Python loop over images."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Interpolation", "cut_windows", "draw_box", "draw_boxes", "flip_some", "pad_crop_flip", "resized_crop"]

Interpolation = Literal["bilinear", "bicubic"]
_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it takes the centre


def pad_crop_flip(
    images: Tensor,
    offset: Tensor | None,
    flipped: Tensor | None,
    *,
    pad: int,
    pad_mode: Literal["zeros", "reflect"] = "zeros",
    side: int | None = None,
) -> Tensor:
    """Mirror some (B, C, H, W) images, pad all, cut a window of the original size (or of ``side``) out of each.

    Convention:
        - ``offset`` (B, 2) int64 is the window's top left corner (y, x) in the padded image: (pad, pad) is the image
          itself, and a larger x shows what lies further right, in the mirrored image where it is mirrored.
        - the padding is made of zeros BEFORE normalisation (black), as in all reference codes, or of the image
          reflected about its border pixels.
        - what is None is left out: ``offset`` the windows, ``flipped`` (B,) bool the mirror.
    """
    if flipped is not None:
        images = flip_some(images, flipped)
    height, width = images.shape[2:] if side is None else (side, side)
    if offset is None or (pad == 0 and images.shape[2:] == (height, width)):
        return images
    if pad_mode == "reflect" and pad >= min(height, width):
        raise ValueError(f"reflection needs pad < the side of the images, got pad {pad} for {height}x{width}")
    if pad > 0:
        images = _reflected(images, pad) if pad_mode == "reflect" else F.pad(images, (pad,) * 4)
    return cut_windows(images, offset, height=height, width=width)


def flip_some(images: Tensor, flipped: Tensor) -> Tensor:
    """(B, C, H, W) images, those mirrored left to right where ``flipped`` (B,) is true."""
    # picking from (image, mirror) pairs by row index costs half of torch.where, which reads and writes both
    pairs = torch.stack((images, images.flip(3)), dim=1).flatten(0, 1)
    return pairs.index_select(0, torch.arange(len(images), device=images.device) * 2 + flipped)


def cut_windows(images: Tensor, offset: Tensor, *, height: int, width: int) -> Tensor:
    """Cut one window (height, width) out of each of (B, C, H, W) images, at the corners ``offset`` (B, 2): rows,
    columns.

    The offsets are int64, on the images' device; the windows must lie inside.
    """
    batch, channels, rows, row = images.shape
    # all windows of the batch as one overlapping view: entry i starts at element i. Picking B * C of them is
    # one copy of whole rows; indexing pixel by pixel is eight times slower
    span = (height - 1) * row + width
    windows = images.contiguous().as_strided((images.numel() - span + 1, height, width), (1, row, 1))
    planes = torch.arange(batch * channels, device=images.device).view(batch, channels) * (rows * row)
    start = planes + (offset[:, 0] * row + offset[:, 1]).unsqueeze(1)
    return windows.index_select(0, start.flatten()).view(batch, channels, height, width)


def draw_boxes(
    count: int,
    *,
    height: int,
    width: int,
    area: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Random boxes of ``area`` (a range of fractions of the image) and aspect ratio 3/4 to 4/3.

    Ten attempts each; where none lies inside the image, the largest centred box with an allowed ratio.

    Returns:
        (count, 4) int64: y0, x0, y1, x1, half-open.
    Source:
        Szegedy et al., Going deeper with convolutions, CVPR 2015; the law of torchvision's RandomResizedCrop.
    """
    drawn = torch.rand(count, _ATTEMPTS, 4, generator=generator, dtype=torch.float64)
    pixels = height * width * (area[0] + (area[1] - area[0]) * drawn[..., 0])
    ratio = torch.exp(math.log(3 / 4) + math.log(16 / 9) * drawn[..., 1])  # width / height
    widths = (pixels * ratio).sqrt().round().long()
    heights = (pixels / ratio).sqrt().round().long()
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    box_width, box_height = widths.gather(1, first)[:, 0], heights.gather(1, first)[:, 0]
    where = drawn.gather(1, first.unsqueeze(-1).expand(-1, -1, 4))[:, 0]
    y0 = (where[:, 2] * (height - box_height + 1)).long()
    x0 = (where[:, 3] * (width - box_width + 1)).long()
    boxes = torch.stack((y0, x0, y0 + box_height, x0 + box_width), dim=1)
    return torch.where(fits.any(1, keepdim=True), boxes, torch.tensor(_central_box(height, width)))


def draw_box(
    height: int, width: int, *, area: tuple[float, float], generator: torch.Generator
) -> tuple[int, int, int, int]:
    """What ``draw_boxes`` draws for one image, without its thirty small tensor operations."""
    drawn = torch.rand(_ATTEMPTS, 4, generator=generator, dtype=torch.float64).tolist()
    for size, shape, down, right in drawn:
        pixels = height * width * (area[0] + (area[1] - area[0]) * size)
        ratio = math.exp(math.log(3 / 4) + math.log(16 / 9) * shape)
        box_width, box_height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 1 <= box_width <= width and 1 <= box_height <= height:
            y0, x0 = int(down * (height - box_height + 1)), int(right * (width - box_width + 1))
            return y0, x0, y0 + box_height, x0 + box_width
    return _central_box(height, width)


def resized_crop(images: Tensor, box: Tensor, *, interpolation: Interpolation = "bilinear") -> Tensor:
    """Cut a box out of each (B, C, H, W) image and scale it to the full size, with antialiasing, in float32.

    Each side is one small matrix product: a (H, H) matrix of interpolation weights per image. The boxes (B, 4) int64
    are y0, x0, y1, x1, half-open, inside the image; the kernel is bilinear, or bicubic with a = -0.5 as PIL has it.
    """
    height, width = images.shape[2:]
    rows = _interpolation_matrix(box[:, 0], box[:, 2], height, interpolation)
    columns = _interpolation_matrix(box[:, 1], box[:, 3], width, interpolation)
    return rows.unsqueeze(1) @ images.to(torch.float32) @ columns.transpose(1, 2).unsqueeze(1)


def _interpolation_matrix(start: Tensor, end: Tensor, side: int, interpolation: Interpolation) -> Tensor:
    """(B, side, side): row i holds the weights of the pixels that make pixel i of the scaled crop."""
    pixels = torch.arange(side, device=start.device, dtype=torch.float32)
    start, end = start.view(-1, 1, 1), end.view(-1, 1, 1)
    step = (end - start) / side
    centre = start + (pixels.view(1, -1, 1) + 0.5) * step
    distance = ((pixels.view(1, 1, -1) + 0.5 - centre) / step.clamp(min=1)).abs()
    if interpolation == "bilinear":
        weight = (1 - distance).clamp(min=0)
    else:
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    inside = (pixels.view(1, 1, -1) >= start) & (pixels.view(1, 1, -1) < end)
    weight = weight * inside
    return weight / weight.sum(2, keepdim=True)


def _central_box(height: int, width: int) -> tuple[int, int, int, int]:
    box_width = round(height * 4 / 3) if width > height * 4 / 3 else width
    box_height = round(width * 4 / 3) if width < height * 3 / 4 else height
    y0, x0 = (height - box_height) // 2, (width - box_width) // 2
    return y0, x0, y0 + box_height, x0 + box_width


def _reflected(images: Tensor, pad: int) -> Tensor:
    for dim in (2, 3):  # F.pad cannot reflect bytes
        before = images.narrow(dim, 1, pad).flip(dim)
        after = images.narrow(dim, images.shape[dim] - 1 - pad, pad).flip(dim)
        images = torch.cat((before, images, after), dim)
    return images
