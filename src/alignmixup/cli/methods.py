"""List the mixing methods, or the options of one.

List the mixing methods; with NAME, its options and their defaults.
"""

from __future__ import annotations

import argparse
import inspect

from alignmixup.cli.arguments import plain_text
from alignmixup.cli.table import new_table, show
from alignmixup.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a method, or package.module:Class")


def run(options: argparse.Namespace) -> int:
    """Print the list, or one method."""
    from alignmixup import methods

    if options.name is None:
        table = new_table("method", "what it does", left=("what it does",), box=None, pad_edge=False)
        for name in methods.available():
            summary = (inspect.getdoc(methods.load(name)) or "").partition("\n\n")[0]
            table.add_row(name, plain_text(summary.replace("\n", " ")))
    else:
        say(plain_text(inspect.getdoc(methods.load(options.name)) or ""), end="\n\n")
        columns = ("option", "default", "paper", "meaning")
        table = new_table(*columns, left=columns, box=None, pad_edge=False)
        for option in methods.options(options.name).values():
            table.add_row(option.name, option.written, option.paper or "-", plain_text(option.meaning))
    show(table)
    return 0
