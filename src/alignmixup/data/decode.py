"""Images of files as tensors, one or many: decoded in the quickest way, cut and scaled."""

import importlib
import io
import math
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data.dataset import TestView
from alignmixup.data.image_file import decode_image, image_size, naming, orientation, pillow
from alignmixup.data.memory import check_memory
from alignmixup.data.sets.listing import few
from alignmixup.data.transforms.crops import Interpolation
from alignmixup.terminal import is_live, new_bars

__all__ = [
    "crop_margin",
    "decode_all",
    "decode_image",
    "decode_pixels",
    "image_size",
    "jpeg_decoder",
    "scaled_box",
    "scaled_center",
    "scaled_whole",
    "to_tensor",
    "viewed",
    "with_bar",
]

T = TypeVar("T")

_TEST_MARGIN = 256 / 224  # Resize(256), CenterCrop(224), and in proportion for other sizes


def decode_pixels(path: str | Path, *, upright: bool = True) -> Tensor:
    """The image of a file as (3, H, W) uint8, channels-last in memory, decoded in the quickest way.

    torchvision decodes JPEGs that need not be turned (the one plane of a grey one is there once). ``decode_image`` does
    the rest: other formats, four channels, and what torchvision refuses, so that arguments and errors are the same.
    """
    path = Path(path)
    with naming(path):
        coded = path.read_bytes()
        pixels = _decode_jpeg(coded) if _is_for_torchvision(coded, upright=upright) else None
    return to_tensor(decode_image(path, upright=upright)) if pixels is None else pixels


@cache
def jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """torchvision's, if there is one; the import takes seconds, so call this before there are workers to repeat it."""
    try:
        return getattr(importlib.import_module("torchvision.io"), "decode_jpeg", None)
    except ImportError:
        return None


def scaled_box(image: Tensor, box: tuple[int, int, int, int], *, size: int, interpolation: Interpolation) -> Tensor:
    """A box (y0, x0, y1, x1, half-open) of a (3, H, W) uint8 image, scaled to (3, size, size) with antialiasing.

    torch does this in a third of PIL's time, quickest where the image is channels-last in memory; now and then a value
    differs from PIL's, by rounding. The kernel is bilinear, or bicubic with a = -0.5 as PIL has it.
    """
    y0, x0, y1, x1 = box
    cut = image[:, y0:y1, x0:x1].unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return F.interpolate(cut, size=(size, size), mode=interpolation, antialias=True)[0]


def scaled_center(image: Any, size: int, *, margin: float = 1.0) -> Any:
    """The centre of a PIL image: its shorter side scaled to ``size * margin``, then ``size`` by ``size`` pixels.

    A margin of 256 / 224 is the usual test transform of ImageNet, Resize(256) and CenterCrop(224).
    """
    width, height = image.size
    shorter = round(size * margin)
    scale = shorter / min(width, height)
    # the longer side is cut to whole pixels as torchvision's Resize does it
    scaled = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    if scale != 1:
        image = image.resize(scaled, pillow().Resampling.BILINEAR)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def scaled_whole(image: Any, size: int, *, margin: float = 1.0) -> Any:
    """The centre of a PIL image whose sides are both scaled to ``size * margin``: ``size`` by ``size`` pixels of it.

    With a margin of 1 that is all of the image, its aspect ratio not kept.
    """
    side = round(size * margin)
    if image.size != (side, side):
        image = image.resize((side, side), pillow().Resampling.BILINEAR)
    start = round((side - size) / 2)
    return image.crop((start, start, start + size, start + size)) if start else image


def viewed(image: Any, size: int, view: TestView, crop: float | None = None) -> Any:
    """A PIL image as ``view`` shows it, ``size`` by ``size`` pixels; ``crop`` is that of `crop_margin`."""
    margin = _TEST_MARGIN if crop is None else crop_margin(size, crop)
    if view == "center":
        return scaled_center(image, size, margin=margin)
    return scaled_whole(image, size, margin=margin if view == "squeezed_center" else 1.0)


def crop_margin(size: int, crop: float) -> float:
    """The margin of a centre crop that keeps the share ``crop`` of each side, which is scaled to whole pixels below."""
    return math.floor(size / crop) / size


def to_tensor(image: Any) -> Tensor:
    """(3, H, W) uint8, channels-last in memory, of an RGB PIL image."""
    width, height = image.size
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1)


def decode_all(
    paths: Sequence[Path],
    prepare: Callable[[Any, Path], Any],
    *,
    size: int,
    title: str,
    progress: bool,
    upright: bool = True,
) -> Tensor:
    """Decode many small images to (N, 3, size, size) uint8.

    Args:
        paths: the files.
        prepare: from the PIL image and its path to one of ``size`` by ``size`` pixels.
        size: side of the results.
        title: text before the progress bar.
        progress: show a bar.
        upright: see ``decode_image``.

    Raises:
        FileNotFoundError, ValueError: the first file that cannot be used, and how many others.
    """
    check_memory(len(paths), 3, size)
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)

    def one(index: int) -> Exception | None:
        try:
            images[index] = to_tensor(prepare(decode_image(paths[index], upright=upright), paths[index]))
        except (FileNotFoundError, ValueError) as error:
            return error
        return None

    # PIL lets go of the interpreter while it decodes, so threads help without copies between processes
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done: Iterable[Exception | None] = pool.map(one, range(len(paths)))
        if progress:
            done = with_bar(done, title, total=len(paths))
        try:
            # all bad files are named at once: they are rarely alone
            bad = [(path, error) for path, error in zip(paths, done, strict=True) if error is not None]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if bad:
        first, others = bad[0][1], [str(path) for path, _ in bad[1:]]
        more = f" ({len(others)} more of {len(paths)} files cannot be used: {few(others)})" if others else ""
        raise type(first)(f"{first}{more}") from first
    return images


def with_bar(items: Iterable[T], title: str, *, total: int) -> Iterable[T]:
    """The items, with a bar while they are worked on, where the output is a terminal that can show one."""
    return _shown(items, title, total) if is_live() else items


def _shown(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    with new_bars(timed=True) as bars:
        task = bars.add_task(title, total=total, text="")
        for done, item in enumerate(items, start=1):
            yield item
            bars.update(task, completed=done, text=f"{done}/{total}")


def _is_for_torchvision(coded: bytes, *, upright: bool) -> bool:
    """Whether a file is a JPEG that need not be turned.

    Pillow is asked, and refuses too large ones, only where the header leaves a doubt: it takes half the time that a
    small image needs.
    """
    if not coded.startswith(b"\xff\xd8"):
        return False
    pixels, metadata = _walk_jpeg(coded)
    limit = pillow().MAX_IMAGE_PIXELS
    if pixels is not None and (limit is None or pixels <= limit) and not (upright and metadata):
        return True
    with pillow().open(io.BytesIO(coded)) as image:
        return not upright or orientation(image) == 1


def _walk_jpeg(coded: bytes) -> tuple[int | None, bool]:
    """Number of pixels that a JPEG's header states (None if it is not understood), and whether there are metadata."""
    at, pixels, metadata = 2, None, False
    while at + 9 <= len(coded) and coded[at] == 0xFF:
        marker, length = coded[at + 1], int.from_bytes(coded[at + 2 : at + 4], "big")
        if marker == 0xDA:  # the pixels begin
            return pixels, metadata
        if marker == 0xE1:  # EXIF or XMP
            metadata = True
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            height, width = struct.unpack_from(">HH", coded, at + 5)
            pixels = height * width
        at += 2 + length
    return None, metadata


def _decode_jpeg(coded: bytes) -> Tensor | None:
    decoder = jpeg_decoder()
    if decoder is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # may leave torchvision one day: PIL is there then
        try:
            pixels: Tensor = decoder(torch.frombuffer(bytearray(coded), dtype=torch.uint8))
        except RuntimeError:
            return None
    return pixels.expand(3, -1, -1) if len(pixels) in (1, 3) else None  # of CMYK torchvision makes other colours
