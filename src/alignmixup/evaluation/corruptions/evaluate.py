"""Error under common corruptions: generated from the test images, or read from a released folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.data.dataset import FileSplit, Split
from alignmixup.data.loaders import Normalizer
from alignmixup.evaluation.corruptions import blur, digital, noise, weather
from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.folders import open_folder
from alignmixup.evaluation.corruptions.strengths import (
    EXTRA_KINDS,
    KINDS,
    TABLES,
    Parameters,
    Table,
    check_kinds,
    check_severities,
    table_for,
)
from alignmixup.evaluation.error import evaluate_error
from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.modules import device_of

# each kind is the function of its name
_CORRUPTIONS: dict[str, Callable[[Tensor, Parameters, Draws], Tensor]] = {
    kind: getattr(module, kind)
    for module in (noise, blur, weather, digital)
    for kind in KINDS + EXTRA_KINDS
    if hasattr(module, kind)
}
_APPROXIMATIONS = {"frost": "synthetic textures in place of the benchmark's photographs"}
SMALLEST = 8  # pixels that a side has at least
_PIXELS = 1 << 19  # of one piece of work: some megabytes, which the caches hold in good part


def corrupt(
    images: Tensor,
    kind: str,
    severity: int,
    *,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    table: Table | None = None,
) -> Tensor:
    """Corrupt images (B, C, H, H) uint8 on the CPU, C = 3 or 1, H >= 8, as CIFAR-C, Tiny-ImageNet-C and ImageNet-C were
    made.

    Convention:
        - The result depends on (image, kind, severity, seed, number of the image) alone.
        - ``kind`` is one of ``KINDS`` or ``EXTRA_KINDS``, ``severity`` 1 to 5; ``numbers`` are those of the images in
          their data set, None for 0, ..., B - 1; ``table`` is whose strengths, None for those made for the nearest
          size.
        - Values are cut to [0, 1] and down to whole bytes, as in the released files.
        - What differs from the benchmark: its random numbers; ``frost``, whose textures are synthetic; last digits
          where other libraries filter.

    Raises:
        ValueError: an unknown kind or table, a severity out of range, images of another shape or type.
        ImportError: a package of the ``train`` extra is not installed.

    Source:
        Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and perturbations,
        ICLR 2019, section 3 and the strengths of its code.
    """
    (kind,), (severity,) = check_kinds([kind]), check_severities([severity])
    side = _side(images)
    table = _check_table(table, side)
    numbers = range(len(images)) if numbers is None else numbers
    if len(numbers) != len(images):
        raise ValueError(f"numbers must name each image once: {len(numbers)} numbers for {len(images)} images")
    parameters = TABLES[table][kind][severity - 1]
    corrupted = torch.empty_like(images)
    size = max(_PIXELS // side**2, 1)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        draws = Draws(seed=seed, purpose=kind, severity=severity, numbers=numbers[part])
        x = _CORRUPTIONS[kind](images[part].float() / 255, parameters, draws).clamp(0, 1)
        corrupted[part] = (x * 255 + 1e-3).to(torch.uint8)  # float32 may lie a little below a whole number
    return corrupted


def evaluate_corruptions(
    model: nn.Module,
    split: Split | FileSplit,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    kinds: Sequence[str] = KINDS,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    seed: int = 0,
    table: Table | None = None,
    folder: str | Path | None = None,
    class_folders: Sequence[str] | None = None,
    class_labels: Sequence[int] | None = None,
    batch_size: int = 256,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Top-1 error in percent for each kind and severity, of the same images each time.

    Convention:
        - ``mean_error_percent`` is the plain mean over kinds of the mean over severities. It is NOT the mCE, which
          divides by a baseline's errors (``mean_corruption_error``); a published script calls its mean ACCURACY "mCE".
        - The kinds are listed: with the four extra ones the mean is another number.
        - ``kinds``, ``severities``, ``seed`` and ``table`` are as in `corrupt`, ``mean`` and ``std`` as in training;
          ``progress`` hears of the images done, in ``len(kinds) * len(severities) + 1`` rounds.
        - With ``folder`` the corrupted images are read from a released one, as `open_folder` does with
          ``class_folders``, ``class_labels`` and ``seed``; those of ``split`` give ``clean_error_percent`` alone.

    Returns:
        JSON-ready: ``kinds``, ``severities``, ``images``, ``source``, ``seed`` (None for a folder of which all images
        are read), ``table`` (None for a folder), ``approximations``, ``clean_error_percent``, ``error_percent`` (kind
        -> list over severities), ``kind_error_percent`` (kind -> mean over severities) and ``mean_error_percent``.

    Raises:
        ValueError: an option out of range, images streamed from files, a folder that does not fit the data.
        FileNotFoundError: ``folder`` or a part of it is missing.
    """
    kinds, severities = check_kinds(kinds), check_severities(severities)
    if not isinstance(split, Split):
        raise ValueError("corruptions need the test images in memory: load the data with in_memory=True")
    side = _side(split.images)
    table = _check_table(table, side)
    released = None
    if folder is not None:
        asked: dict[str, Any] = {"kinds": kinds, "severities": severities, "seed": seed}
        asked |= {"class_folders": class_folders, "class_labels": class_labels}
        released = open_folder(folder, like=split, **asked)
    normalizer = Normalizer(mean, std, device=device_of(model), channels_last=False)

    def error_of(batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        def on_device() -> Iterator[tuple[Tensor, Tensor]]:
            for images, labels in batches:
                yield normalizer(images.to(device_of(model))), labels.to(device_of(model))
                progress(len(images))

        return evaluate_error(model, on_device(), autocast=autocast).error_percent

    def batches_of(kind: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        if released is not None:
            return released.batches(kind, severity, batch_size)
        return _corrupted(split, kind, severity, seed=seed, table=table, batch_size=batch_size)

    clean = error_of(_batches(split, batch_size))
    errors = {kind: [error_of(batches_of(kind, severity)) for severity in severities] for kind in kinds}
    means = {kind: sum(errors[kind]) / len(severities) for kind in kinds}
    return {
        "kinds": list(kinds),
        "severities": list(severities),
        "images": len(split) if released is None else released.images,
        "source": "generated" if released is None else f"folder {Path(released.path).name}",
        "seed": seed if released is None else released.seed,
        "table": table if released is None else None,
        "approximations": {k: v for k, v in _APPROXIMATIONS.items() if k in kinds and released is None},
        "clean_error_percent": clean,
        "error_percent": errors,
        "kind_error_percent": means,
        "mean_error_percent": sum(means.values()) / len(kinds),
    }


def _side(images: Tensor) -> int:
    if images.dim() != 4 or images.dtype != torch.uint8 or images.device.type != "cpu":
        found = f"{images.dtype} of shape {tuple(images.shape)} on {images.device}"
        raise ValueError(f"images must be uint8 of shape (B, C, H, H) on the CPU, got {found}")
    channels, height, width = images.shape[1:]
    if channels not in (1, 3) or height != width or height < SMALLEST:
        raise ValueError(
            f"corruptions are for square RGB or grey images of {SMALLEST} pixels or more, got {channels} "
            f"channels of {height}x{width}"
        )
    return height


def _check_table(table: Table | None, side: int) -> Table:
    if table is not None and table not in TABLES:
        raise ValueError(f"unknown table of strengths {table!r}: expected one of {', '.join(TABLES)}")
    return table or table_for(side)


def _batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield split.images[part], split.labels[part]


def _corrupted(
    split: Split, kind: str, severity: int, *, seed: int, table: Table, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    start = 0
    for images, labels in _batches(split, batch_size):
        numbers = range(start, start + len(images))
        yield corrupt(images, kind, severity, seed=seed, numbers=numbers, table=table), labels
        start += len(images)
