"""A picture of which positions of two images are matched.

Match the positions of the feature maps of pairs of test images by optimal transport, as AlignMixup does, in any trained
network, and draw the assignment: lines between the surest matches, the partner's positions in colour and carried to the
first image, and the entropy of each match.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from alignmixup.cli.arguments import add_networks, add_options, given, load_network
from alignmixup.runs.options.pictures import MatchOptions
from alignmixup.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_options(parser, MatchOptions)
    parser.add_argument(
        "--out", type=Path, default=Path("align.png"), metavar="FILE", help=".png, .pdf or .svg (default: align.png)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw the picture and print how sharp the matches are."""
    from alignmixup.runs.pictures import picture_matches

    record = picture_matches(load_network(options), options.out, **given(options, MatchOptions))
    say(
        f"{record['layer']}, {record['positions']}: mean entropy of a match {record['entropy']:.3f} of at most "
        f"{math.log(math.prod(record['size'])):.3f}; mean squared distance of matched positions "
        f"{record['distance']:.4g}, of equal positions {record['distance_unaligned']:.4g}, of all "
        f"{record['distance_any']:.4g}; {100 * record['moved']:.0f} % of the plan goes to another position"
    )
    say(options.out)
    return 0
