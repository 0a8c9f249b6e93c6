"""Large images: decode, crop, resize, and what workers bring."""

import argparse
import io
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from alignmixup import data
from alignmixup.benchmarks.measure import against_first, interleave
from alignmixup.benchmarks.report import Report, has
from alignmixup.benchmarks.usual_loops import Pass, drain, usual_loader, usual_transform
from alignmixup.data import ImageData, build_loaders
from alignmixup.data.decode import decode_image, decode_pixels, scaled_box

WIDTH, HEIGHT, QUALITY = 500, 375, 90
CLASSES = 4
NOISE = (10.0, 22.0)  # smoothest and roughest image, in grey levels; with it a file has the size of a photograph's


def run(options: argparse.Namespace) -> Report:
    """Time the loaders with each number of workers, then the parts of one image's time."""
    check(options)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        coded = write_images(root, options.images)
        dataset = data.load("folder", root=root, image_size=options.size, in_memory=False)
        for workers in options.workers:
            cases = loaders(dataset, root, options, workers=workers)
            taken = interleave(cases, repeats=options.repeats, device=options.device)
            rows += compare("loader", taken, images=options.images, workers=workers)
        for part, cases in steps(sorted((root / "train").rglob("*.jpg")), options.size).items():
            taken = interleave(cases, repeats=options.repeats)
            rows += compare(part, taken, images=options.images, workers=None)
    sizes = f"{min(coded) / 1024:.0f} to {max(coded) / 1024:.0f} KiB each"
    notes = [f"{WIDTH}x{HEIGHT} JPEGs of quality {QUALITY}, {sizes}", workers_note(rows, options.feed)]
    if not has("torchvision"):
        notes.append("torchvision is not installed: its cases are left out")
    keys = ("images", "batch", "size", "workers", "feed", "repeats")
    return Report("decoding", {key: getattr(options, key) for key in keys}, rows, notes)


def check(options: argparse.Namespace) -> None:
    """Refuse values out of range (ValueError)."""
    if options.images < CLASSES:
        raise ValueError(f"--images must be >= {CLASSES}, one for each class, got {options.images}")
    if options.batch < 1 or options.size < 1:
        raise ValueError(f"--batch and --size must be >= 1, got {options.batch} and {options.size}")
    if min(options.workers) < 0:
        raise ValueError(f"--workers must be >= 0, got {min(options.workers)}")
    if not 0 < options.feed < math.inf:
        raise ValueError(f"--feed must be > 0 and finite, got {options.feed}")


def write_images(root: Path, count: int) -> list[int]:
    """Write ``train/CLASS/`` with ``count`` JPEGs in all and ``val/CLASS/`` with one each; return sizes in bytes.

    Fields of random colours from coarse to fine, in which amplitude falls with frequency as in photographs, under
    noise; the amount of noise sets the size of the file, on which the time to decode depends.
    """
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    sizes = []
    for number in range(count):
        picture = torch.full((1, 3, HEIGHT, WIDTH), 128.0)
        for side in (2, 4, 8, 16, 32, 64, 128, 256):
            field = 50 * side**-0.5 * torch.randn(1, 3, side, side, generator=generator)
            picture += interpolate(field, size=(HEIGHT, WIDTH), mode="bilinear")
        noise = NOISE[0] + (NOISE[1] - NOISE[0]) * number / max(count - 1, 1)
        picture += noise * torch.randn(picture.shape, generator=generator)
        coded = io.BytesIO()
        pixels = picture[0].clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(coded, "JPEG", quality=QUALITY)
        for split in ("train", "val") if number < CLASSES else ("train",):
            path = root / split / f"class{number % CLASSES}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(coded.getvalue())
        sizes.append(len(coded.getvalue()))
    return sizes


def loaders(dataset: ImageData, root: Path, options: argparse.Namespace, *, workers: int) -> dict[str, Pass]:
    """Passes over the training images with so many workers, ours first."""
    device = torch.device(options.device)
    ours, _ = build_loaders(dataset, batch_size=options.batch, device=device, workers=workers)
    cases: dict[str, Pass] = {"ours": partial(drain, ours)}
    if has("torchvision"):
        from torchvision.datasets import ImageFolder
        from torchvision.datasets.folder import pil_loader

        for kind, read in {"v1 on PIL": pil_loader, "v2 on decode_jpeg": read_tensor}.items():
            chain = usual_transform(
                lambda made: made.RandomResizedCrop(dataset.image_size),
                pil=read is pil_loader,
                mean=dataset.mean,
                std=dataset.std,
            )
            images = ImageFolder(str(root / "train"), transform=chain, loader=read)
            batches = usual_loader(images, batch=options.batch, workers=workers, device=device)
            cases[f"torchvision {kind}"] = partial(drain, batches)
    return cases


def read_tensor(path: str | Path) -> Tensor:
    """(3, H, W) uint8 of a JPEG, by torchvision's own decoder."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # announced to move to torchcodec; works as before
        image: Tensor = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    return image


def steps(paths: Sequence[Path], size: int) -> dict[str, dict[str, Pass]]:
    """Parts of one image's time, each on all images in this process, ours first.

    The box is the same for all and of the mean area of the random ones, 0.54 of the image.
    """
    from PIL import Image

    y0, x0, y1, x1 = box = (50, 66, 325, 434)
    images, pixels = [decode_image(path) for path in paths], [decode_pixels(path) for path in paths]
    ours = partial(scaled_box, box=box, size=size, interpolation="bilinear")
    pil = partial(Image.Image.resize, size=(size, size), resample=Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    found: dict[str, dict[str, Pass]] = {
        "read the file": {"bytes": partial(_each, Path.read_bytes, paths)},
        "read and decode": {"ours": partial(_each, decode_pixels, paths), "PIL": partial(_each, decode_image, paths)},
        "crop and resize": {"ours": partial(_each, ours, pixels), "PIL": partial(_each, pil, images)},
    }
    if has("torchvision"):
        from torchvision.transforms.v2 import functional

        crop = partial(functional.resized_crop, top=y0, left=x0, height=y1 - y0, width=x1 - x0, size=[size, size])
        found["read and decode"]["torchvision decode_jpeg"] = partial(_each, read_tensor, paths)
        found["crop and resize"]["torchvision v2 on tensors"] = partial(_each, crop, pixels)
    return found


def compare(part: str, seconds: Mapping[str, list[float]], *, images: int, workers: int | None) -> list[dict[str, Any]]:
    """One row for each case, with ratios to the first, round by round."""
    found = against_first(seconds, images=images, per={"ms per image": images})
    return [{"part": part, "case": case, "workers": workers, **row} for case, row in found.items()]


def workers_note(rows: Sequence[Mapping[str, Any]], feed: float) -> str:
    """What one worker of ours gives, what the largest measured number of them gives, how many a faster GPU takes."""
    rates = {row["workers"]: row["images/s"] for row in rows if row["part"] == "loader" and row["case"] == "ours"}
    fewest = min(filter(None, rates), default=0)
    each = rates[fewest] / max(fewest, 1)
    measured = ", ".join(f"{rate:.0f} images/s with {workers}" for workers, rate in sorted(rates.items()))
    needed = math.ceil(feed / each)
    return (
        f"ours: {measured} workers on {os.cpu_count()} cores; at {each:.0f} images/s each, {feed:g} images/s take "
        f"{needed} workers with a core of their own each"
    )


def _each(function: Callable[[Any], Any], values: Sequence[Any]) -> None:
    for value in values:
        function(value)
