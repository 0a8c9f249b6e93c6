"""Pairs of test images: which positions match, and what lies between their feature maps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from alignmixup.figures.morph import Morph, animate_morphs, check_animation, draw_confidence, draw_morphs
from alignmixup.files import write_json
from alignmixup.methods.alignmixup_ae import AlignMixupAE
from alignmixup.runs.loading import as_run
from alignmixup.runs.options.pictures import MatchOptions, MorphOptions, PairChoice, PathOptions
from alignmixup.runs.pictures.images import as_picture, pixels, ready
from alignmixup.runs.record import environment
from alignmixup.runs.run import Run
from alignmixup.taps import Layout

_ANIMATED = 33  # coefficients of an animation


def picture_matches(run: Run | str | Path, out: str | Path, **options: Any) -> dict[str, Any]:
    """Draw which positions of pairs of test images are matched in the feature maps, as AlignMixup matches them.

    ``out`` is a PNG file, ``options`` are those of `MatchOptions`.

    Returns:
        What `measure_matches` measures, of the pairs that are drawn.
    """
    asked, file, run = MatchOptions(**options), ready(out), as_run(run)
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
    asked, file = MorphOptions(**options), ready(out)
    if asked.animation:
        ready(asked.animation, check_animation)
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
    asked, file, run = PathOptions(**options), None if out is None else ready(out), as_run(run)
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


def _alignment(run: Run, asked: PairChoice) -> Alignment:
    return run.alignment(epsilon=asked.epsilon, iterations=asked.iterations)


def _pair_maps(run: Run, layer: str, asked: PairChoice, *, layout: Layout | None) -> tuple[Pairs, PairMaps]:
    """The pairs that are drawn, in one batch, and their feature maps."""
    index = run.draw_pairs(asked.pairs, classes=asked.classes, seed=asked.seed)
    batch = next(run.pairs(index, batch_size=asked.pairs))
    return batch, pair_maps(run.model, layer, batch, _alignment(run, asked), layout=layout)


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
            frames[path].append(as_picture(decoder.decode(mixed)))
            probs[path].append(beliefs.gather(1, classes).cpu().numpy())
    originals = [pixels(run.data, x) for x in (pairs.first, pairs.partner)]
    ends = [as_picture(decoder.decode(features)) for features in (maps.first, maps.partner)]
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
