"""``alignmixup morph``: feature maps interpolated between two images, shown as images or measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.pictures import (
    TrainedRun,
    add_pair_options,
    alignment_of,
    device_of,
    draw_index,
    has_decoder,
    images_at,
    layer_of,
    layout_of,
    load_decoder,
    load_run,
    pairs_of,
    pixels,
    shown,
)

if TYPE_CHECKING:
    import torch

    from alignmixup.evaluation.paths.pair_maps import PairMaps, Pairs
    from alignmixup.figures.morph import Morph
    from alignmixup.methods.alignmixup_ae import AlignMixupAE

_ANIMATED = 33  # coefficients of an animation
_COLUMNS = ("path", "A's or B's class", "lowest", "entropy", "minus not aligned", "same, kept half", "higher")
_NAMES = {"first": "aligned, geometry of A", "partner": "aligned, geometry of B", "none": "not aligned"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "morph",
        help="feature maps interpolated between two images, shown as images or measured",
        description="Interpolate the feature maps of pairs of test images from λ = 1 to 0: aligned in the geometry of "
        "the one (A) and of the other (B), and unaligned. Without --measure the decoder of an alignmixup_ae run shows "
        "them; the numbers below each image are the network's probabilities, in percent, of A's and of B's class. "
        "With --measure, for any run, the network's beliefs along the paths are averaged over many pairs.",
    )
    add_pair_options(parser, pairs=3)
    parser.add_argument("--steps", type=int, default=9, metavar="N", help="values of λ (default: 9)")
    parser.add_argument("--animation", type=Path, metavar="FILE", help="write a .gif or .webp too, there and back")
    parser.add_argument("--measure", type=int, metavar="N", help="measure N pairs instead of drawing some")
    parser.add_argument(
        "--layer", metavar="NAME", help="with --measure: where to interpolate (default: the run's layer)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="PNG (default: morph.png, or interpolation.png and .json)"
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Draw or measure."""
    if options.steps < 2:
        raise ValueError(f"--steps must be >= 2, got {options.steps}")
    if options.measure is not None:
        if options.steps % 2 == 0:
            raise ValueError(f"--measure compares at λ = 1/2 too: --steps must be odd, got {options.steps}")
        if options.animation:
            raise ValueError("--measure draws no images: leave --animation out")
        return measure(options)
    if options.layer:
        raise ValueError("--layer goes with --measure: images can only be drawn from the layer that the decoder reads")
    return draw(options)


def draw(options: argparse.Namespace) -> int:
    """Draw the pairs, and the animation where one is wanted."""
    from alignmixup.evaluation.paths.pair_maps import pair_maps
    from alignmixup.figures.morph import animate_morphs, check_animation, draw_morphs

    if options.animation:
        check_animation(options.animation)
    trained = load_run(options.folder, data_root=options.data_root, device=options.device)
    decoder = load_decoder(trained)
    layer = str(decoder.decoder_layer)
    pairs = next(pairs_of(trained, draw_index(trained, options, options.pairs), batch_size=options.pairs))
    maps = pair_maps(trained.model, layer, pairs, alignment_of(trained, options), layout=decoder.layout)
    out = options.out or Path("morph.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    title = (
        f"{trained.folder.path.name}: λ A + (1 - λ) B in the maps of {layer}, decoded; below each image the network's "
        "probabilities of A's class (blue) and of B's (orange), in percent"
    )
    lam = _coefficients(options.steps)
    draw_morphs(_morphs(trained, decoder, pairs, maps, lam=lam), lam, out, title=title)
    print(out)
    if options.animation:
        options.animation.parent.mkdir(parents=True, exist_ok=True)
        animate_morphs(_morphs(trained, decoder, pairs, maps, lam=_coefficients(_ANIMATED)), options.animation)
        print(options.animation)
    return 0


def measure(options: argparse.Namespace) -> int:
    """Follow the network along many paths; write the numbers and a plot, print a table."""
    from alignmixup.evaluation.paths.measure import measure_paths
    from alignmixup.evaluation.paths.summary import summarise_paths
    from alignmixup.figures.morph import draw_confidence
    from alignmixup.runs.record import environment, write_json
    from alignmixup.taps import layer_use

    trained = load_run(options.folder, data_root=options.data_root, device=options.device)
    decoder = load_decoder(trained) if has_decoder(trained) else None
    layer = layer_of(trained, options.layer)
    if decoder is not None and decoder.decoder_layer != layer:
        decoder = None
    alignment = alignment_of(trained, options)
    found = measure_paths(
        trained.model,
        layer,
        pairs_of(trained, draw_index(trained, options, options.measure)),
        lam=_coefficients(options.steps),
        alignment=alignment,
        layout=layout_of(trained),
        decoder=decoder,
    )
    use = layer_use(trained.model, images_at(trained, [0, 0])[0], layer, layout_of(trained))
    out = options.out or Path("interpolation.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "run": str(trained.folder.path),
        "layer": layer,
        "read_from_layer": use,
        "classes": options.classes,
        "seed": options.seed,
        "alignment": vars(alignment),
        **summarise_paths(found),
        "environment": environment(device_of(trained)),
    }
    write_json(out.with_suffix(".json"), content)
    draw_confidence(content, out, title=f"{trained.folder.path.name}, {layer}, {options.measure} pairs")
    _print_table(content)
    print(f"{out.with_suffix('.json')}, {out}")
    return 0


def _coefficients(count: int) -> list[float]:
    return [1 - number / (count - 1) for number in range(count)]


def _morphs(
    trained: TrainedRun, decoder: AlignMixupAE, pairs: Pairs, maps: PairMaps, *, lam: list[float]
) -> list[Morph]:
    """The pictures of all pairs along all paths."""
    import torch

    from alignmixup.evaluation.paths.measure import classify_maps
    from alignmixup.evaluation.paths.pair_maps import PATHS
    from alignmixup.figures.morph import Morph

    layer, classes = str(decoder.decoder_layer), torch.stack([pairs.y_first, pairs.y_partner], dim=1)

    def decoded(features: torch.Tensor) -> Any:
        with torch.no_grad():
            return shown(decoder.decode(features))

    frames: dict[str, list[Any]] = {path: [] for path in PATHS}
    probs: dict[str, list[Any]] = {path: [] for path in PATHS}
    for path in PATHS:
        for value in lam:
            mixed = maps.mix(torch.full((len(classes),), value, device=classes.device), path)
            found = classify_maps(trained.model, layer, pairs.first, mixed, layout=decoder.layout)
            frames[path].append(decoded(mixed))
            probs[path].append(found.gather(1, classes).cpu().numpy())
    originals = [pixels(trained.dataset, x) for x in (pairs.first, pairs.partner)]
    ends = [decoded(own) for own in (maps.first, maps.partner)]
    names = [[trained.dataset.class_names[k] for k in pair] for pair in classes.tolist()]
    return [
        Morph(
            names=(names[n][0], names[n][1]),
            originals=_stack([images[n] for images in originals]),
            reconstructions=_stack([images[n] for images in ends]),
            frames={path: _stack([images[n] for images in frames[path]]) for path in PATHS},
            probs={path: _stack([values[n] for values in probs[path]]) for path in PATHS},
        )
        for n in range(len(names))
    ]


def _stack(arrays: list[Any]) -> Any:
    import numpy as np

    return np.stack(arrays)


def _print_table(content: dict[str, Any]) -> None:
    from alignmixup.outside import require

    for key, what in (("all", "all pairs"), ("ends_right", "both images classified rightly")):
        part = content[key]
        table = require("rich.table").Table(title=f"{content['layer']}: {part['pairs']} pairs, {what}")
        for heading in _COLUMNS:
            table.add_column(heading, justify="left" if heading == "path" else "right")
        for name, path in part.get("paths", {}).items():
            against = part["against_none"].get(name)
            table.add_row(
                _NAMES[name],
                *(_written(path[number]) for number in ("area", "dip", "mean_entropy")),
                *(_written(against[key]) if against else "" for key in ("area_difference", "kept_half_difference")),
                f"{100 * against['share_higher']['mean']:.1f} %" if against else "",
            )
        # written to a file, a table is as wide as it needs to be
        require("rich.console").Console(width=None if sys.stdout.isatty() else 120).print(table)
    if content["read_from_layer"] == "mean":
        print(
            f"the network reads only the mean of {content['layer']}, which alignment keeps: aligned and unaligned "
            "paths are the same to it; name an earlier layer with --layer"
        )


def _written(number: dict[str, float | None]) -> str:
    mean, error = number["mean"], number["standard_error"]
    return f"{mean:.4f}" if error is None else f"{mean:.4f} ± {error:.4f}"
