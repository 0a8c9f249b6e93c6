"""Pictures of a network at work, and what is measured for them: matches, morphs, paths, a gallery of methods."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignmixup import methods
from alignmixup.data import ImageData
from alignmixup.evaluation.paths.measure import classify_maps, measure_paths
from alignmixup.evaluation.paths.pair_maps import (
    PATHS,
    Alignment,
    Correspondence,
    PairMaps,
    Pairs,
    correspondence,
    pair_maps,
)
from alignmixup.evaluation.paths.summary import summarise_paths
from alignmixup.figures.correspondence import Match, draw_matches
from alignmixup.figures.gallery import GalleryRow, draw_gallery
from alignmixup.figures.morph import Morph, animate_morphs, check_animation, draw_confidence, draw_morphs
from alignmixup.figures.palette import series
from alignmixup.figures.save import check_format
from alignmixup.files import write_json
from alignmixup.methods import MixedBatch, Mixer
from alignmixup.methods.alignmixup_ae import AlignMixupAE
from alignmixup.modules import training_flags
from alignmixup.normalization import Normalization
from alignmixup.options import Option
from alignmixup.outside import require
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.loading import as_run
from alignmixup.runs.options.base import listed
from alignmixup.runs.options.pictures import GalleryOptions, MatchOptions, MorphOptions, PairChoice, PathOptions
from alignmixup.runs.record import environment
from alignmixup.runs.run import Run
from alignmixup.taps import Layout
from alignmixup.taps.quiet import own_buffers
from alignmixup.training.config_file import bundled_names, load

_ANIMATED = 33  # coefficients of an animation
_BATCH = 20  # images that a batch of the gallery has at least: Co-Mixup's groups
_INSIDE = "it mixes inside the network: there is no image to show"
_PATIENCE = 50  # batches until one is mixed at the input


def picture_matches(run: Run | str | Path, out: str | Path, **options: Any) -> dict[str, Any]:
    """Draw which positions of pairs of test images are matched in the feature maps, as AlignMixup matches them.

    ``out`` is a PNG file, ``options`` are those of `MatchOptions`.

    Returns:
        What `measure_matches` measures, of the pairs that are drawn.
    """
    asked, file, run = MatchOptions(**options), _ready(out), as_run(run)
    batch, maps, matched, record = _matched(run, asked)
    title = f"{run.title}: {record['layer']}, {record['positions']}, ε = {_alignment(run, asked).epsilon:g}"
    draw_matches(_matches(run.data, batch, maps, matched), file, lines=asked.lines, title=title)
    return record


def measure_matches(run: Run | str | Path, **options: Any) -> dict[str, Any]:
    """Measure how positions of pairs of test images are matched; ``options`` are those of `MatchOptions`.

    Returns:
        Layer, positions of its maps, size of the assignment, and means over it: entropy of a match in nats; squared
        distance of matched, of equal, and of all positions; share of the plan's mass that is moved to another position.
    """
    return _matched(as_run(run), MatchOptions(**options))[3]


def _matched(run: Run, asked: MatchOptions) -> tuple[Pairs, PairMaps, Correspondence, dict[str, Any]]:
    layer = run.layer(asked.layer)
    batch, maps = _pair_maps(run, layer, asked, layout=run.layout)
    matched = correspondence(maps)
    record = {
        "layer": layer,
        "positions": maps.positions,
        "size": maps.size,
        "entropy": matched.entropy.mean().item(),
        "distance": matched.distance.mean().item(),
        "distance_unaligned": matched.distance_unaligned.mean().item(),
        "distance_any": matched.distance_any.mean().item(),
        "moved": matched.moved.mean().item(),
    }
    return batch, maps, matched, record


def picture_morphs(run: Run | str | Path, out: str | Path, **options: Any) -> None:
    """Draw interpolated feature maps as the run's decoder shows them; a run without one is refused.

    ``out`` is a PNG file, ``options`` are those of `MorphOptions`.
    """
    asked, file = MorphOptions(**options), _ready(out)
    if asked.animation:
        _ready(asked.animation, check_animation)
    run = as_run(run)
    decoder = run.decoder
    layer = str(decoder.decoder_layer)
    batch, maps = _pair_maps(run, layer, asked, layout=decoder.layout)
    title = (
        f"{run.title}: λ A + (1 - λ) B in the maps of {layer}, decoded; below each image the network's "
        "probabilities of A's class (blue) and of B's (vermilion), in percent"
    )
    lam = _coefficients(asked.steps)
    draw_morphs(_morphs(run, decoder, batch, maps, lam=lam), lam, file, title=title)
    if asked.animation:
        animate_morphs(_morphs(run, decoder, batch, maps, lam=_coefficients(_ANIMATED)), Path(asked.animation))


def measure_interpolation(run: Run | str | Path, out: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Measure what the network believes along interpolated feature maps of many pairs.

    ``out`` is a PNG file that gets a JSON file beside it; None writes nothing. ``options`` are those of `PathOptions`.

    Returns:
        The numbers, as `summarise_paths` explains them, and their circumstances.
    """
    asked, file, run = PathOptions(**options), None if out is None else _ready(out), as_run(run)
    layer = run.layer(asked.layer)
    decoder = run.decoder if run.has_decoder else None
    alignment = _alignment(run, asked)
    scores = measure_paths(
        run.model,
        layer,
        run.pairs(run.draw_pairs(asked.pairs, classes=asked.classes, seed=asked.seed)),
        lam=_coefficients(asked.steps),
        alignment=alignment,
        layout=run.layout,
        decoder=decoder if decoder is not None and decoder.decoder_layer == layer else None,
    )
    record = {
        "run": run.name,
        "layer": layer,
        "read_from_layer": run.layer_use(layer),
        "classes": asked.classes,
        "seed": asked.seed,
        "alignment": vars(alignment),
        **summarise_paths(scores),
        "environment": environment(run.device),
    }
    if file is not None:
        write_json(file.with_suffix(".json"), record)
        draw_confidence(record, file, title=f"{run.title}, {layer}, {asked.pairs} pairs")
    return record


def picture_gallery(run: Run | str | Path, out: str | Path, **options: Any) -> dict[str, str]:
    """Draw what several methods make of the same test images; the run's network finds what is salient.

    ``out`` is a PNG file, ``options`` are those of `GalleryOptions`.

    Returns:
        The methods that have no image to show, and why: they never mix at the input, or, where ``methods`` names none,
        cannot be built for these data, as one whose autoencoder is not there.
    """
    asked, file, run = GalleryOptions(**options), _ready(out), as_run(run)
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


def pixels(dataset: ImageData, x: Tensor) -> np.ndarray:
    """Normalised images (N, C, H, W) as (N, H, W, 3) in [0, 1]."""
    return _as_picture(Normalization.of(dataset.mean, dataset.std).undo(x.detach().cpu()))


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


def _alignment(run: Run, asked: PairChoice) -> Alignment:
    return run.alignment(epsilon=asked.epsilon, iterations=asked.iterations)


def _pair_maps(run: Run, layer: str, asked: PairChoice, *, layout: Layout | None) -> tuple[Pairs, PairMaps]:
    """The pairs that are drawn, in one batch, and their feature maps."""
    index = run.draw_pairs(asked.pairs, classes=asked.classes, seed=asked.seed)
    batch = next(run.pairs(index, batch_size=asked.pairs))
    return batch, pair_maps(run.model, layer, batch, _alignment(run, asked), layout=layout)


def _ready(file: str | Path, check: Callable[[Path], object] = check_format) -> Path:
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


def _as_picture(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as (N, H, W, 3); a single channel becomes grey."""
    array = images.detach().permute(0, 2, 3, 1).float().cpu().numpy().clip(0, 1)
    return np.asarray(array if array.shape[-1] == 3 else array.repeat(3, axis=-1))


def _coefficients(count: int) -> list[float]:
    return [1 - number / (count - 1) for number in range(count)]


def _matches(dataset: ImageData, pairs: Pairs, maps: PairMaps, matched: Correspondence) -> list[Match]:
    images = [pixels(dataset, x) for x in (pairs.first, pairs.partner)]
    labels = [[dataset.class_names[k] for k in y.tolist()] for y in (pairs.y_first, pairs.y_partner)]
    saved = 1 - matched.distance / matched.distance_unaligned.clamp_min(1e-12)
    return [
        Match(
            names=(labels[0][n], labels[1][n]),
            images=np.stack([side[n] for side in images]),
            size=maps.size,
            assignment=maps.assignment[n].cpu().numpy(),
            distance=matched.distances[n].cpu().numpy(),
            entropy=matched.entropy[n].cpu().numpy(),
            caption=(
                f"mean {matched.entropy[n].mean().item():.2f} of {math.log(math.prod(maps.size)):.2f} nats\n"
                f"distance {round(-100 * saved[n].item()):+d} % by aligning"
            ),
        )
        for n in range(len(labels[0]))
    ]


@torch.no_grad()
def _morphs(run: Run, decoder: AlignMixupAE, pairs: Pairs, maps: PairMaps, *, lam: list[float]) -> list[Morph]:
    """The pictures of all pairs along all paths."""
    layer, classes = str(decoder.decoder_layer), torch.stack([pairs.y_first, pairs.y_partner], dim=1)
    frames: dict[str, list[Any]] = {path: [] for path in PATHS}
    probs: dict[str, list[Any]] = {path: [] for path in PATHS}
    for path in PATHS:
        for value in lam:
            mixed = maps.mix(torch.full((len(classes),), value, device=classes.device), path)
            beliefs = classify_maps(run.model, layer, pairs.first, mixed, layout=decoder.layout)
            frames[path].append(_as_picture(decoder.decode(mixed)))
            probs[path].append(beliefs.gather(1, classes).cpu().numpy())
    originals = [pixels(run.data, x) for x in (pairs.first, pairs.partner)]
    ends = [_as_picture(decoder.decode(features)) for features in (maps.first, maps.partner)]
    names = [[run.data.class_names[k] for k in pair] for pair in classes.tolist()]
    return [
        Morph(
            names=(names[n][0], names[n][1]),
            originals=np.stack([images[n] for images in originals]),
            reconstructions=np.stack([images[n] for images in ends]),
            frames={path: np.stack([images[n] for images in frames[path]]) for path in PATHS},
            probs={path: np.stack([values[n] for values in probs[path]]) for path in PATHS},
        )
        for n in range(len(names))
    ]


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
