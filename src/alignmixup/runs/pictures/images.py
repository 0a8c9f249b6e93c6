"""Images as figures take them, and a file that can hold one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from alignmixup.data import ImageData
from alignmixup.figures.save import check_format
from alignmixup.normalization import Normalization
from alignmixup.options import Option
from alignmixup.runs.folder import RunFolder


def pixels(dataset: ImageData, x: Tensor) -> np.ndarray:
    """Normalised images (N, C, H, W) as (N, H, W, 3) in [0, 1]."""
    return as_picture(Normalization.of(dataset.mean, dataset.std).undo(x.detach().cpu()))


def as_picture(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as (N, H, W, 3); a single channel becomes grey."""
    array = images.detach().permute(0, 2, 3, 1).float().cpu().numpy().clip(0, 1)
    return np.asarray(array if array.shape[-1] == 3 else array.repeat(3, axis=-1))


def ready(file: str | Path, check: Callable[[Path], object] = check_format) -> Path:
    """A picture that can be written: refused before hours of work are done for it, a run's own file first of all."""
    Option(name="out", type=str | Path).check(file)
    if not Path(file).name:
        raise ValueError(f"--out {str(file)!r} names no file: name one, such as picture.png")
    for written in (Path(file), Path(file).with_suffix(".json")):
        RunFolder(written.parent).check_output(written)
    check(Path(file))
    if Path(file).is_dir():
        raise ValueError(f"--out {file} is a folder: name a file in it")
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    return Path(file)
