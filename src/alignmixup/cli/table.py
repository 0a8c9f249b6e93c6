"""Tables, as commands print them."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from alignmixup.outside import require

_WIDTH = 160  # where there is no terminal to ask: written to a file, a table is as wide as it needs to be


def new_table(*columns: str, left: Collection[str] = (), no_wrap: bool = False, **options: Any) -> Any:
    """A table of rich; texts stand left in its first column and in those named, numbers right in the others."""
    table = require("rich.table").Table(**options)
    for number, heading in enumerate(columns):
        is_text = not number or heading in left
        justify, whole = ("left", False) if is_text else ("right", no_wrap)
        table.add_column(heading, justify=justify, no_wrap=whole, overflow="fold")
    return table


def show(*things: Any) -> None:
    """Print tables and lines."""
    console = require("rich.console").Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False)
    for thing in things:
        console.print(thing)
