"""A picture of which positions of two images are matched.

Match the positions of the feature maps of pairs of test images by optimal transport, as AlignMixup does, in any trained
network, and draw the assignment: lines between the surest matches, the partner's positions in colour and carried to the
first image, and the entropy of each match.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from alignmixup.cli.arguments import add_device, add_options, add_run, given, load_run
from alignmixup.runs.plan import MatchOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_options(parser, MatchOptions)
    add_device(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("align.png"), metavar="FILE", help=".png, .pdf or .svg (default: align.png)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw the picture and print how sharp the matches are."""
    from alignmixup.runs.pictures import picture_matches

    network = load_run(options, device=options.device)
    record = picture_matches(network, options.out, **given(options, MatchOptions))
    height, width = record["height"], record["width"]
    print(
        f"{record['layer']}, {height} x {width} positions: mean entropy of a match {record['entropy']:.3f} of at most "
        f"{math.log(height * width):.3f}; mean squared distance of matched positions {record['distance']:.4g}, of "
        f"equal positions {record['distance_unaligned']:.4g}, of all {record['distance_any']:.4g}"
    )
    print(options.out)
    return 0
