"""``alignmixup align``: which positions of two images are matched in a network's feature maps."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.pictures import (
    TrainedRun,
    add_pair_options,
    alignment_of,
    draw_index,
    layer_of,
    layout_of,
    load_run,
    pairs_of,
    pixels,
)

if TYPE_CHECKING:
    from alignmixup.evaluation.paths.pair_maps import Correspondence, PairMaps, Pairs
    from alignmixup.figures.correspondence import Match


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "align",
        help="a picture of which positions of two images are matched",
        description="Match the positions of the feature maps of pairs of test images by optimal transport, as "
        "AlignMixup does, in any trained network, and draw the assignment: lines between the surest matches, the "
        "partner's positions in colour and carried to the first image, and the entropy of each match.",
    )
    add_pair_options(parser, pairs=4)
    parser.add_argument("--layer", metavar="NAME", help="whose maps (default: the run's layer, or the last map)")
    parser.add_argument("--lines", type=int, default=12, metavar="N", help="surest matches to draw (default: 12)")
    parser.add_argument("--out", type=Path, default=Path("align.png"), metavar="FILE", help="PNG (default: align.png)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Draw the picture and print how sharp the matches are."""
    from alignmixup.evaluation.paths.pair_maps import correspondence, pair_maps
    from alignmixup.figures.correspondence import draw_matches

    if options.lines < 0:
        raise ValueError(f"--lines must be >= 0, got {options.lines}")
    trained = load_run(options.folder, data_root=options.data_root, device=options.device)
    layer = layer_of(trained, options.layer)
    alignment = alignment_of(trained, options)
    pairs = next(pairs_of(trained, draw_index(trained, options, options.pairs), batch_size=options.pairs))
    maps = pair_maps(trained.model, layer, pairs, alignment, layout=layout_of(trained))
    found = correspondence(maps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    height, width = maps.first.shape[2:]
    title = f"{trained.folder.path.name}: {layer}, {height} x {width} positions, ε = {alignment.epsilon:g}"
    draw_matches(_matches(trained, pairs, maps, found), options.out, lines=options.lines, title=title)
    print(
        f"{layer}, {height} x {width} positions: mean entropy of a match {found.entropy.mean().item():.3f} of at most "
        f"{math.log(height * width):.3f}; mean squared distance of matched positions "
        f"{found.distance.mean().item():.4g}, of equal positions {found.distance_unaligned.mean().item():.4g}, of all "
        f"{found.distance_any.mean().item():.4g}"
    )
    print(options.out)
    return 0


def _matches(trained: TrainedRun, pairs: Pairs, maps: PairMaps, found: Correspondence) -> list[Match]:
    import numpy as np

    from alignmixup.figures.correspondence import Match

    images = [pixels(trained.dataset, x) for x in (pairs.first, pairs.partner)]
    labels = [[trained.dataset.class_names[k] for k in y.tolist()] for y in (pairs.y_first, pairs.y_partner)]
    size = (maps.first.shape[2], maps.first.shape[3])
    saved = 1 - found.distance / found.distance_unaligned.clamp_min(1e-12)
    return [
        Match(
            names=(labels[0][n], labels[1][n]),
            images=np.stack([side[n] for side in images]),
            size=size,
            assignment=maps.assignment[n].cpu().numpy(),
            entropy=found.entropy[n].cpu().numpy(),
            caption=(
                f"mean {found.entropy[n].mean().item():.2f} of {math.log(size[0] * size[1]):.2f} nats\n"
                f"distance {-100 * saved[n].item():+.0f} % by aligning"
            ),
        )
        for n in range(len(labels[0]))
    ]
