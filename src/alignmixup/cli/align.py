"""``alignmixup align``: which positions of two images are matched in a network's feature maps."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from alignmixup.cli.pictures import add_pair_options, load_run, pair_options


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
    from alignmixup.runs.pictures import picture_matches

    record = picture_matches(
        load_run(options, device=options.device),
        options.out,
        pairs=options.pairs,
        layer=options.layer,
        lines=options.lines,
        **pair_options(options),
    )
    print(
        f"{record['layer']}, {record['positions']}: mean entropy of a match {record['entropy']:.3f} of at most "
        f"{math.log(math.prod(record['size'])):.3f}; mean squared distance of matched positions "
        f"{record['distance']:.4g}, of equal positions {record['distance_unaligned']:.4g}, of all "
        f"{record['distance_any']:.4g}"
    )
    print(options.out)
    return 0
