"""What several methods make of the same test images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignmixup import methods
from alignmixup.data import ImageData
from alignmixup.figures.gallery import GalleryRow, draw_gallery
from alignmixup.figures.palette import series
from alignmixup.methods import MixedBatch, Mixer
from alignmixup.modules import training_flags
from alignmixup.outside import require
from alignmixup.runs.loading import as_run
from alignmixup.runs.options.base import listed
from alignmixup.runs.options.pictures import GalleryOptions
from alignmixup.runs.pictures.images import pixels, ready
from alignmixup.runs.run import Run
from alignmixup.taps.quiet import own_buffers
from alignmixup.training.bundled import bundled_names
from alignmixup.training.config_file import load

_BATCH = 20  # images that a batch of the gallery has at least: Co-Mixup's groups
_INSIDE = "it mixes inside the network: there is no image to show"
_PATIENCE = 50  # batches until one is mixed at the input


def picture_gallery(run: Run | str | Path, out: str | Path, **options: Any) -> dict[str, str]:
    """Draw what several methods make of the same test images; the run's network finds what is salient.

    ``out`` is a PNG file, ``options`` are those of `GalleryOptions`.

    Returns:
        The methods that have no image to show, and why: they never mix at the input, or, where ``methods`` names none,
        cannot be built for these data, as one whose autoencoder is not there.
    """
    asked, file, run = GalleryOptions(**options), ready(out), as_run(run)
    dataset, columns = run.data, asked.columns
    order = torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(asked.seed))
    x, y = run.images(order[: max(columns, _BATCH)])
    plain = GalleryRow("images", pixels(dataset, x[:columns]), [dataset.class_names[k] for k in y[:columns].tolist()])
    rows, without = [plain], {}
    with _as_it_was(run.model):
        for name in listed(asked.methods) or methods.available():
            try:
                mixer = _bundled_mixer(name, run, seed=asked.seed)
            except (ValueError, OSError) as error:
                if asked.methods:
                    raise
                without[name] = str(error)
                continue
            batch = _mixed_batch(mixer, x, y, run.model)
            if batch is None:
                without[name] = _INSIDE if mixer.is_scoped else "it mixes nothing"
            else:
                rows.append(_gallery_row(name, dataset, batch, columns))
    draw_gallery(rows, file, title=f"{dataset.name}, saliency by {run.title}")
    return without


def mask_colours(mask: Tensor) -> np.ndarray:
    """Weights as colours: white for the first example and black for its partner.

    Of many inputs an image gives the first colours to those that it holds most of.

    Args:
        mask: (N, h, w) or (N, h, w, m).

    Returns:
        (N, h, w, 3) in [0, 1].
    """
    if mask.ndim == 3:
        return np.repeat(mask.cpu().numpy()[..., None], 3, axis=-1)
    to_rgb = require("matplotlib.colors").to_rgb
    colours = torch.tensor([to_rgb(series(rank)) for rank in range(mask.shape[-1])], dtype=torch.float64)
    weights = mask.cpu().double()
    ranks = weights.mean((1, 2)).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return np.asarray(torch.einsum("nhwm,nmc->nhwc", weights, colours[ranks]).numpy())


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Methods look at the network in training, which a run's network is not, and which moves BatchNorm's statistics."""
    restore = training_flags(model)
    try:
        with own_buffers(model):
            yield
    finally:
        restore()


def _bundled_mixer(name: str, run: Run, *, seed: int) -> Mixer:
    """A method as its bundled configuration for these data has it; with its defaults where there is none."""
    bundled = f"{run.config.data.name}/{name}"
    return methods.build(
        name,
        model=run.model.train(),
        num_classes=run.data.num_classes,
        mean=run.data.mean,
        std=run.data.std,
        class_counts=run.data.class_counts,
        seed=seed,
        options=load(bundled).method.options if bundled in bundled_names() else {},
    )


def _mixed_batch(mixer: Mixer, x: Tensor, y: Tensor, model: nn.Module) -> MixedBatch | None:
    """The first batch that the method mixes at the input; None where it never does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what alignment does in this network is not the question here
        for _ in range(_PATIENCE):
            batch = mixer(x, y)
            if batch.late:  # the model's forward pass finds the labels
                with batch, torch.no_grad():
                    model(batch.x)
            if batch.draw is not None and batch.x is not x:
                return batch
            with suppress(RuntimeError), batch:
                pass  # looked at and never trained on: its block is opened, and complains of the layers, for nothing
    return None


def _gallery_row(name: str, dataset: ImageData, batch: MixedBatch, columns: int) -> GalleryRow:
    """A method's images, labels and masks."""
    first = 0 if batch.clean_weight is None else len(batch.x) // 2  # the mixtures stand behind the clean images
    shown = slice(first, first + columns)
    captions = []
    for target in batch.target[shown]:
        weight, label = target.topk(min(3, len(target)))
        parts = [(w, dataset.class_names[k]) for w, k in zip(weight.tolist(), label.tolist(), strict=True) if w > 0.005]
        captions.append("\n".join(f"{w:.2f} {text}" for w, text in parts))
    masks = None if batch.mask is None else mask_colours(batch.mask()[:columns])
    return GalleryRow(name, pixels(dataset, batch.x[shown]), captions, masks)
