"""List the bundled configurations.

List the bundled configurations, or those whose name holds PATTERN (`fast`, `cifar100/*`, `*/alignmixup`).
Size `own` is that of the data set.
"""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase

from alignmixup.cli.table import new_table, show
from alignmixup.training.bundled import bundled_names, near_bundled
from alignmixup.training.config_file import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="a part of the name, or a pattern with * and ?")


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    wanted = options.pattern
    names = [name for name in bundled_names() if wanted is None or _fits(name, wanted)]
    if not names:
        raise ValueError(f"no bundled configuration fits {wanted!r}; {near_bundled(wanted)}")
    table = new_table("configuration", "network", "size", "epochs", left=("network",), box=None, pad_edge=False)
    for name in names:
        config = load(name)
        size = config.data.image_size
        table.add_row(name, config.model.name, str(size) if size else "own", str(config.train.epochs))
    show(table)
    return 0


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if any(mark in pattern for mark in "*?[") else pattern in name
