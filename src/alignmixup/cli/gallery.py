"""A picture of what every method makes of the same images.

Mix the same test images by several methods and draw the results with their masks and labels. The network of RUN finds
what is salient, for the methods that ask it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignmixup.cli.arguments import add_run, load_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--methods", metavar="NAMES", help="separated by commas (default: all that mix the input)")
    parser.add_argument("--columns", type=int, default=8, metavar="N", help="images in a row (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="which images, partners and λ (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("gallery.png"), metavar="FILE", help="(default: gallery.png)")


def run(options: argparse.Namespace) -> int:
    """Draw the picture."""
    from alignmixup.runs.pictures import picture_gallery

    names = options.methods.split(",") if options.methods else None
    network = load_run(options, device="cpu")
    hidden = picture_gallery(network, options.out, names=names, columns=options.columns, seed=options.seed)
    for name in hidden if names else ():
        print(f"{name} mixes inside the network: there is no image to show")
    print(options.out)
    return 0
