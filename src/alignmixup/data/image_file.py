"""Image files to pixels, one or many, with errors that name the file.

Convention, for every way of reading:
    - **mode**: three bytes a pixel. Grey, palette, CMYK, YCbCr and LAB are converted by Pillow; of 16 bits the upper 8
      count, as Pillow takes them of 16-bit colour; an alpha channel is left out, as ``convert("RGB")`` does in most
      loaders; colour profiles and gamma are not applied, as in those. Floats, signed and 32-bit integers are refused,
      because no file says what their white is.
    - **frames**: the first one of an animation or of several pages.
    - **orientation**: turned as the EXIF entry says (``upright``), as people see the image and annotate it today; or as
      stored, as the published results on ImageNet, CUB and Tiny-ImageNet have it and the boxes of their releases. TIFF
      files are always turned, since Pillow turns them.
    - **damage**: truncated files are refused. A JPEG that was cut and given an end again is not told from a whole one:
      what is missing is grey.
    - **size**: images of more than 179 million pixels (Pillow's limit) are refused; see ``MAX_PIXELS_VARIABLE``.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alignmixup.outside import require

__all__ = [
    "MAX_PIXELS_VARIABLE",
    "ImageFacts",
    "decode_image",
    "describe_image",
    "image_size",
    "image_sizes",
    "naming",
    "orientation",
    "pillow",
]

# environment variable: images of more pixels than this number are refused
MAX_PIXELS_VARIABLE = "ALIGNMIXUP_MAX_PIXELS"
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
_DARK = 16
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# interlaced, an image is seven smaller ones: first column, first row, and the steps between columns and rows
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
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
        dark: whether no value is above 15 of 255, as where 12 bits stand in files of 16, or labels in place of colours.
        digest: of its pixels and size, the same for copies in whatever lossless format.
    """

    size: tuple[int, int]
    mode: str
    format: str
    turned: bool
    frames: int
    alpha: bool
    dark: bool
    digest: bytes


def decode_image(path: str | Path, *, upright: bool = True) -> Any:
    """The image of a file, as an RGB ``PIL.Image``; ``upright`` turns it as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated, not an image, too large, or of pixels without a stated range.
    """
    with naming(path), pillow().open(path) as image:
        image.load()
        _check_rows(image, Path(path))
        mode, reason, rgb = image.mode, _misread(image), None
        if not reason:
            rgb, reason = _to_rgb(image), "floats or 32-bit integers, and no file says which of those is white"
        if rgb is not None:
            turn = _TURNS.get(orientation(image)) if upright else None
            return rgb if turn is None else rgb.transpose(pillow().Transpose[turn])
    raise ValueError(f"{path} has pixels of mode {mode} ({reason}): convert it to 8 or 16 bits, or remove it")


def describe_image(path: Path) -> ImageFacts:
    """What there is to know of the image in a file that ``decode_image`` can read, with its errors."""
    rgb = decode_image(path)
    dark = max(high for _, high in rgb.getextrema()) < _DARK
    with naming(path), pillow().open(path) as image:
        alpha = image.mode.endswith(("A", "a")) or "transparency" in image.info
        frames, turned = getattr(image, "n_frames", 1), orientation(image) > 1
        digest = hashlib.sha256(f"{rgb.size}".encode() + rgb.tobytes()).digest()
        return ImageFacts(rgb.size, image.mode, image.format, turned, frames, alpha, dark, digest)


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


def image_size(path: str | Path, *, upright: bool = True) -> tuple[int, int]:
    """Width and height of the image that ``decode_image`` makes of a file, with its errors.

    Its pixels are not read where its header says all (PNG may state the orientation at the end).
    """
    with naming(path), pillow().open(path) as image:
        lies = orientation(image) >= 5  # of the values, those that swap the sides
        if image.format == "TIFF":
            if lies:
                image.load()  # Pillow turns it now, if it has not
            lies = False
        width, height = image.size
    return (height, width) if lies and upright else (width, height)


def image_sizes(root: Path, paths: Sequence[str], *, upright: bool = True) -> list[tuple[int, int]]:
    """What ``image_size`` says of each of many files below ``root``."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda path: image_size(root / path, upright=upright), paths))


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Errors of reading and decoding, with the file's name and the way out; nobody waits at a pipe."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file but a folder, a pipe or a device: remove it")
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


def _check_rows(image: Any, path: Path) -> None:
    """Refuse a PNG whose pixels end before its last row: Pillow leaves the others black and says nothing.

    They are counted only where the last row is black, or where rows do not come in order.
    """
    if image.format != "PNG":
        return
    width, height = image.size
    if not image.info.get("interlace") and any(image.crop((0, height - 1, width, height)).tobytes()):
        return
    chunks = _png_chunks(path.read_bytes())
    bits, colour, _, _, interlaced = chunks[0][1][8:13]
    wanted = 0
    for column, row, right, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((column - width) // right), -((row - height) // down)
        wanted += rows * (1 + (columns * bits * _PNG_CHANNELS[colour] + 7) // 8) if columns else 0
    stream, found = zlib.decompressobj(), 0
    pending = b"".join(content for kind, content in chunks if kind == b"IDAT")
    while pending and found < wanted:  # in parts: a small file may hold much
        found, pending = found + len(stream.decompress(pending, 1 << 20)), stream.unconsumed_tail
    if found < wanted:
        raise ValueError(f"its pixels end after {found} of {wanted} bytes")


def _png_chunks(coded: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG."""
    chunks, at = [], 8
    while at + 8 <= len(coded):
        length, kind = struct.unpack_from(">I4s", coded, at)
        chunks.append((kind, coded[at + 8 : at + 8 + length]))
        at += length + 12
    return chunks


def _misread(image: Any) -> str:
    """Why Pillow's pixels of a TIFF file are wrong; empty where they are right."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if 2 in tags.get(339, ()) and image.mode == "L":
        return "signed integers, which would be read as unsigned"
    if tags.get(284) == 2 and tags.get(259) == 1 and tags.get(258, (8,))[0] > 8:
        return "planes of 16 bits each, of which one byte in two would be lost"
    return ""


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


def orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8: 1, as stored, where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata say nothing of the pixels, whose own damage shows as they are read
        return 1
    return value if value in _TURNS else 1
