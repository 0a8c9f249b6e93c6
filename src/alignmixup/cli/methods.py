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
    from alignmixup.training.extras import require

    table_class = require("rich.table").Table
    if options.name is None:
        table = table_class("method", "what it does", box=None, pad_edge=False)
        for name in methods.available():
            table.add_row(name, _summary(methods.load(name)))
    else:
        method = methods.load(options.name)
        print(inspect.getdoc(method), end="\n\n")
        table = table_class("option", "default", "type", box=None, pad_edge=False)
        for name, parameter in methods.options(options.name).items():
            table.add_row(name, _default(parameter), _annotation(parameter))
    require("rich.console").Console(markup=False, soft_wrap=True).print(table)
    return 0


def _summary(method: type) -> str:
    return (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " ")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return str(parameter.default).lower() if isinstance(parameter.default, bool) else str(parameter.default)


def _annotation(parameter: inspect.Parameter) -> str:
    return (
        inspect.formatannotation(parameter.annotation).replace("typing.", "").replace("collections.abc.", "")
    )
