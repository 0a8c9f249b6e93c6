"""Feature maps interpolated between two images, shown as images or measured.

Interpolate the feature maps of pairs of test images from λ = 1 to 0: aligned in the geometry of the one (A) and of the
other (B), and unaligned. Without --measure the decoder of an alignmixup_ae run shows them; the numbers below each image
are the network's probabilities, in percent, of A's and of B's class. With --measure, for any run, the network's beliefs
along the paths are averaged over many pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alignmixup.cli.arguments import add_networks, add_options, given, load_network
from alignmixup.cli.table import new_table, show
from alignmixup.runs.options.pictures import MorphOptions, PathOptions
from alignmixup.terminal import say

_COLUMNS = ("path", "A's or B's class", "lowest", "entropy", "minus not aligned", "same, kept half", "higher")
_NAMES = {"first": "aligned, geometry of A", "partner": "aligned, geometry of B", "none": "not aligned"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_options(parser, MorphOptions)
    parser.add_argument("--measure", type=int, metavar="N", help="measure N pairs instead of drawing some")
    parser.add_argument(
        "--layer", metavar="NAME", help="with --measure: where to interpolate (default: the run's layer)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=".png, .pdf or .svg (default: morph.png, or interpolation.png and .json)",
    )


def run(options: argparse.Namespace) -> int:
    """Draw or measure."""
    from alignmixup.runs.pictures import measure_interpolation, picture_morphs

    asked = MorphOptions.part_of(options)
    if options.measure is not None and options.animation:
        raise ValueError("--measure draws no images: leave --animation out")
    if options.measure is not None and options.pairs != MorphOptions.pairs:
        raise ValueError(f"--measure {options.measure} says how many pairs: leave --pairs {options.pairs} out")
    if options.measure is None and options.layer:
        raise ValueError("--layer goes with --measure: images can only be drawn from the layer that the decoder reads")
    network = load_network(options)
    if options.measure is None:
        out = options.out or Path("morph.png")
        picture_morphs(network, out, **vars(asked))
        say(*filter(None, (out, options.animation)), sep="\n")
    else:
        out = options.out or Path("interpolation.png")
        record = measure_interpolation(network, out, **given(options, PathOptions) | {"pairs": options.measure})
        _print_table(record)
        say(f"{out.with_suffix('.json')}, {out}")
    return 0


def _print_table(content: dict[str, Any]) -> None:
    for key, what in (("all", "all pairs"), ("ends_right", "both images classified rightly")):
        part = content[key]
        table = new_table(*_COLUMNS, title=f"{content['layer']}: {part['pairs']} pairs, {what}")
        for name, path in part.get("paths", {}).items():
            against = part["against_none"].get(name)
            table.add_row(
                _NAMES[name],
                *(_written(path[number]) for number in ("area", "dip", "mean_entropy")),
                *(_written(against[key]) if against else "" for key in ("area_difference", "kept_half_difference")),
                f"{100 * against['share_higher']['mean']:.1f} %" if against else "",
            )
        show(table)
    if content["read_from_layer"] == "mean":
        say(
            f"the network reads only the mean of {content['layer']}, which alignment keeps: aligned and unaligned "
            "paths are the same to it; name an earlier layer with --layer"
        )


def _written(number: dict[str, float | None]) -> str:
    mean, error = number["mean"], number["standard_error"]
    return f"{mean:.4f}" if error is None else f"{mean:.4f} ± {error:.4f}"
