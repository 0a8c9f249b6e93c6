"""A picture of what every method makes of the same images.

Mix the same test images by several methods and draw the results with their masks and labels. The network of RUN finds
what is salient, for the methods that ask it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignmixup.cli.arguments import add_networks, add_options, given, load_network
from alignmixup.runs.options.pictures import GalleryOptions
from alignmixup.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_options(parser, GalleryOptions)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gallery.png"),
        metavar="FILE",
        help=".png, .pdf or .svg (default: gallery.png)",
    )


def run(options: argparse.Namespace) -> int:
    """Draw the picture."""
    from alignmixup.runs.pictures import picture_gallery

    network = load_network(options)
    without = picture_gallery(network, options.out, **given(options, GalleryOptions))
    for name, why in without.items():
        say(f"no {name}: {why}")
    say(options.out)
    return 0
