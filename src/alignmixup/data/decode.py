"""Image files to pixels, one or many, with errors that name the file.

Convention, for every way of reading:
    - **mode**: three bytes a pixel. Grey, palette, CMYK, YCbCr and LAB are converted by Pillow; of 16 bits the upper 8
      count, as Pillow takes them of 16-bit colour; an alpha channel is left out, as ``convert("RGB")`` does in most
      loaders. Floats and 32-bit integers are refused, because no file says what their white is.
    - **frames**: the first one of an animation or of several pages.
    - **orientation**: turned as the EXIF entry says (``upright``), as people see the image and annotate it today; or as
      stored, as the published results on ImageNet, CUB and Tiny-ImageNet have it and the boxes of their releases. TIFF
      files are always turned, since Pillow turns them.
    - **size**: images of more than 179 million pixels (Pillow's limit) are refused; see ``MAX_PIXELS_VARIABLE``.
"""

import importlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data.crops import Interpolation
from alignmixup.data.dataset import TestView
from alignmixup.data.listing import few
from alignmixup.data.memory import check_memory
from alignmixup.outside import require

__all__ = [
    "MAX_PIXELS_VARIABLE",
    "ImageFacts",
    "decode_all",
    "decode_image",
    "decode_pixels",
    "describe_image",
    "image_size",
    "jpeg_decoder",
    "pillow",
    "scaled_box",
    "scaled_center",
    "scaled_whole",
    "to_tensor",
    "viewed",
]

MAX_PIXELS_VARIABLE = (
    "ALIGNMIXUP_MAX_PIXELS"  # environment variable: images of more pixels than this number are refused
)
_TEST_MARGIN = 256 / 224  # Resize(256), CenterCrop(224), and in proportion for other sizes
_ORIENTATION = 0x0112  # the EXIF entry
_TURNS = {  # its values, and what makes the stored image upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIXTEEN_BIT = ("PNG", "PPM", "TIFF", "JPEG2000")  # formats whose 16-bit pixels are known to range from 0 to 65535


@dataclass(frozen=True)
class ImageFacts:
    """What a file says of its image.

    Args:
        size: width and height of the upright image.
        mode: Pillow's.
        format: Pillow's.
        turned: whether its EXIF orientation turns it.
        frames: how many there are.
        alpha: whether parts are transparent.
    """

    size: tuple[int, int]
    mode: str
    format: str
    turned: bool
    frames: int
    alpha: bool


def decode_image(path: Path, *, upright: bool = True) -> Any:
    """The image of a file, as an RGB ``PIL.Image``.

    Args:
        path: the file.
        upright: turn it as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated, not an image, too large, or of pixels without a stated range.
    """
    with _naming(path), pillow().open(path) as image:
        image.load()
        mode, rgb = image.mode, _to_rgb(image)
        if rgb is not None:
            turn = _TURNS.get(_orientation(image)) if upright else None
            return rgb if turn is None else rgb.transpose(pillow().Transpose[turn])
    raise ValueError(
        f"{path} has pixels of mode {mode} (floats or 32-bit integers), and no file says which of those is white: "
        "convert it to 8 or 16 bits, or remove it"
    )


def describe_image(path: Path) -> ImageFacts:
    """What there is to know of the image in a file that ``decode_image`` can read.

    Raises:
        FileNotFoundError, ValueError: as ``decode_image``.
    """
    size = decode_image(path).size
    with _naming(path), pillow().open(path) as image:
        alpha = "A" in image.getbands() or "transparency" in image.info
        frames, turned = getattr(image, "n_frames", 1), _orientation(image) > 1
        return ImageFacts(size, image.mode, image.format, turned, frames, alpha)


def decode_pixels(path: Path, *, upright: bool = True) -> Tensor:
    """The image of a file, decoded in the quickest way.

    torchvision decodes JPEGs that need not be turned. ``decode_image`` does the rest: other formats, four channels, and
    what torchvision refuses, so that errors are the same.

    Args:
        path: the file.
        upright: turn it as its EXIF orientation says.

    Returns:
        (3, H, W) uint8, channels-last in memory (the one plane of a grey JPEG is there once).

    Raises:
        FileNotFoundError, ValueError: as ``decode_image``.
    """
    with _naming(path):
        coded = path.read_bytes()
        pixels = _decode_jpeg(coded) if _is_for_torchvision(coded, upright=upright) else None
    return to_tensor(decode_image(path, upright=upright)) if pixels is None else pixels


@cache
def pillow() -> Any:
    """``PIL.Image``, with the limit of pixels that the environment sets.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: the variable is no whole number.
    """
    module, limit = require("PIL.Image"), os.environ.get(MAX_PIXELS_VARIABLE)
    if limit:
        if not limit.isdecimal():
            raise ValueError(f"{MAX_PIXELS_VARIABLE} must be a whole number of pixels, got {limit!r}")
        module.MAX_IMAGE_PIXELS = -(-int(limit) // 2)  # it refuses images of more than twice that
    return module


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


def viewed(image: Any, size: int, view: TestView) -> Any:
    """A PIL image as ``view`` shows it, ``size`` by ``size`` pixels."""
    if view == "center":
        return scaled_center(image, size, margin=_TEST_MARGIN)
    return scaled_whole(image, size, margin=_TEST_MARGIN if view == "squeezed_center" else 1.0)


def image_size(path: Path, *, upright: bool = True) -> tuple[int, int]:
    """Width and height of the image that ``decode_image`` makes of a file.

    Its pixels are not read where its header says all (PNG may state the orientation at the end).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, not an image or too large.
    """
    with _naming(path), pillow().open(path) as image:
        lies = _orientation(image) >= 5  # of the values, those that swap the sides
        if image.format == "TIFF":
            if lies:
                image.load()  # Pillow turns it now, if it has not
            lies = False
        width, height = image.size
    return (height, width) if lies and upright else (width, height)


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
    """Decode many small images.

    Args:
        paths: the files.
        prepare: from the PIL image and its path to one of ``size`` by ``size`` pixels.
        size: side of the results.
        title: text before the progress bar.
        progress: show a bar.
        upright: turn images as their EXIF orientation says.

    Returns:
        (N, 3, size, size) uint8.

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
        done = pool.map(one, range(len(paths)))
        if progress:
            done = require("rich.progress").track(done, description=title, total=len(paths), transient=True)
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


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of reading and decoding, with the file's name and the way out."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is listed in its data set but missing: restore it from the release") from error
    except (ImportError, MemoryError):
        raise
    except pillow().DecompressionBombError as error:
        raise ValueError(
            f"{path} is too large ({str(error).partition(',')[0]}): scale it down, or set the environment variable "
            f"{MAX_PIXELS_VARIABLE} to a larger number"
        ) from error
    except Exception as error:  # of a damaged file the readers of the many formats raise nearly anything
        size = path.stat().st_size if path.is_file() else 0
        reason = "an empty file" if size == 0 else f"not a readable image of {size} bytes ({error})"
        raise ValueError(f"{path} is {reason}: restore it from the release, or remove it") from error


def _to_rgb(image: Any) -> Any | None:
    """An RGB image of a loaded one; None where nobody knows what its values mean."""
    if image.mode == "RGB":
        return image
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if sixteen and image.format in _SIXTEEN_BIT:
        tags = image.tag_v2 if image.format == "TIFF" else {}
        bits, black_is_zero = tags.get(258, (16,))[0], tags.get(262, 1) != 0
        image = image.convert("I").point(_upper_bits(bits, black_is_zero), "L")
    elif image.mode[0] in "IF":
        return None
    image.info.pop("transparency", None)  # left out like any alpha, and Pillow would warn of it
    return image.convert("RGB")


@cache
def _upper_bits(bits: int, black_is_zero: bool) -> list[int]:
    """The byte that stands for each 16-bit value of which ``bits`` are in use."""
    table = [min(value >> (bits - 8), 255) for value in range(1 << 16)]
    return table if black_is_zero else [255 - value for value in table]


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8: 1, as stored, where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata say nothing of the pixels, whose own damage shows as they are read
        return 1
    return value if value in _TURNS else 1


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
        return not upright or _orientation(image) == 1


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
