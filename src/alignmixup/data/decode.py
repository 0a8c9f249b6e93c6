"""Image files to pixels, one or many, with errors that name the file."""

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data.crops import Interpolation
from alignmixup.data.dataset import TestView
from alignmixup.outside import require

__all__ = [
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
]

_TEST_MARGIN = 256 / 224  # Resize(256), CenterCrop(224), and in proportion for other sizes


def decode_image(path: Path) -> Any:
    """The image of a file, as an RGB ``PIL.Image`` (greyscale and palette images are converted).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or not an image.
    """
    with _naming(path), require("PIL.Image").open(path) as image:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")  # it copies where nothing changes too


def decode_pixels(path: Path) -> Tensor:
    """The image of a file, decoded in the quickest way.

    torchvision decodes JPEGs. PIL decodes the rest: other formats, four channels, and what torchvision refuses, so that
    errors are those of ``decode_image``.

    Returns:
        (3, H, W) uint8, channels-last in memory (the one plane of a grey JPEG is there once).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or not an image.
    """
    with _naming(path):
        coded = path.read_bytes()
    pixels = _decode_jpeg(coded) if coded.startswith(b"\xff\xd8") else None
    return to_tensor(decode_image(path)) if pixels is None else pixels


@cache
def jpeg_decoder() -> Callable[[Tensor], Tensor] | None:
    """torchvision's, if there is one; the import takes seconds, so call this before there are workers to repeat it."""
    try:
        return getattr(importlib.import_module("torchvision.io"), "decode_jpeg", None)
    except ImportError:
        return None


def scaled_box(image: Tensor, box: tuple[int, int, int, int], *, size: int, interpolation: Interpolation) -> Tensor:
    """A box cut out of an image, then scaled with antialiasing.

    torch does this in a third of PIL's time; now and then a value differs from PIL's, by rounding.

    Args:
        image: (3, H, W) uint8; channels-last in memory is quickest.
        box: what to cut out: y0, x0, y1, x1, half-open.
        size: side of the result.
        interpolation: the kernel: bilinear, or bicubic with a = -0.5 as PIL has it.

    Returns:
        (3, size, size) uint8, channels-last in memory.
    """
    y0, x0, y1, x1 = box
    cut = image[:, y0:y1, x0:x1].unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return F.interpolate(cut, size=(size, size), mode=interpolation, antialias=True)[0]


def scaled_center(image: Any, size: int, *, margin: float = 1.0) -> Any:
    """The centre of a PIL image: its shorter side scaled to ``size * margin``, then ``size`` by ``size``
    pixels.

    A margin of 256 / 224 is the usual test transform of ImageNet, Resize(256) and CenterCrop(224).
    """
    width, height = image.size
    shorter = round(size * margin)
    scale = shorter / min(width, height)
    # the longer side is cut to whole pixels as torchvision's Resize does it
    scaled = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    if scale != 1:
        image = image.resize(scaled, require("PIL.Image").Resampling.BILINEAR)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def scaled_whole(image: Any, size: int, *, margin: float = 1.0) -> Any:
    """The centre of a PIL image whose sides are both scaled to ``size * margin``: ``size`` by ``size`` pixels of it.

    With a margin of 1 that is all of the image, its aspect ratio not kept.
    """
    side = round(size * margin)
    if image.size != (side, side):
        image = image.resize((side, side), require("PIL.Image").Resampling.BILINEAR)
    start = round((side - size) / 2)
    return image.crop((start, start, start + size, start + size)) if start else image


def viewed(image: Any, size: int, view: TestView) -> Any:
    """A PIL image as ``view`` shows it, ``size`` by ``size`` pixels."""
    if view == "center":
        return scaled_center(image, size, margin=_TEST_MARGIN)
    return scaled_whole(image, size, margin=_TEST_MARGIN if view == "squeezed_center" else 1.0)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the image in a file, whose pixels are not read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty or not an image.
    """
    with _naming(path), require("PIL.Image").open(path) as image:
        return cast(tuple[int, int], image.size)


def to_tensor(image: Any) -> Tensor:
    """(3, H, W) uint8, channels-last in memory, of an RGB PIL image."""
    width, height = image.size
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1)


def decode_all(
    paths: Sequence[Path], prepare: Callable[[Any, Path], Any], *, size: int, title: str, progress: bool
) -> Tensor:
    """Decode many small images.

    Args:
        paths: the files.
        prepare: from the PIL image and its path to one of ``size`` by ``size`` pixels.
        size: side of the results.
        title: text before the progress bar.
        progress: show a bar.

    Returns:
        (N, 3, size, size) uint8.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)

    def one(index: int) -> None:
        images[index] = to_tensor(prepare(decode_image(paths[index]), paths[index]))

    # PIL lets go of the interpreter while it decodes, so threads help without copies between processes
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = pool.map(one, range(len(paths)))
        if progress:
            done = require("rich.progress").track(done, description=title, total=len(paths), transient=True)
        try:
            for _ in done:
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the first bad file ends it, not the last of a hundred thousand
            raise
    return images


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of reading and decoding, with the file's name and the way out."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is listed in its data set but missing: restore it from the release") from error
    except (OSError, SyntaxError, ValueError, require("PIL.Image").DecompressionBombError) as error:
        size = path.stat().st_size if path.is_file() else 0
        reason = "an empty file" if size == 0 else f"not a readable image of {size} bytes ({error})"
        raise ValueError(f"{path} is {reason}: restore it from the release, or remove it") from error


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
