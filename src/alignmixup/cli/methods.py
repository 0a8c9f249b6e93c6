"""``alignmixup methods``: what there is, and what its options are."""

from __future__ import annotations

import argparse
import inspect
from typing import Any


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "methods",
        help="list the mixing methods, or the options of one",
        description="List the mixing methods; with NAME, its options and their defaults.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a method, or package.module:Class")
    return parser


def run(options: argparse.Namespace) -> int:
    """Print the list, or one method."""
    from alignmixup import methods
    from alignmixup.outside import require

    table_class = require("rich.table").Table
    if options.name is None:
        table = table_class("method", "what it does", box=None, pad_edge=False)
        for name in methods.available():
            table.add_row(name, _summary(methods.load(name)))
    else:
        method = methods.load(options.name)
        print(inspect.getdoc(method), end="\n\n")
        table = table_class("option", "default", "paper", "meaning", box=None, pad_edge=False)
        for option in methods.options(options.name).values():
            table.add_row(option.name, option.written, option.paper or "-", option.meaning)
    require("rich.console").Console(markup=False).print(table)
    return 0


def _summary(method: type) -> str:
    return (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " ")
