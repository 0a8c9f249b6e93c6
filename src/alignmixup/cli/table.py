"""Tables, as commands print them: whole, or as a list where the terminal is too narrow."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from alignmixup.outside import require
from alignmixup.terminal import is_terminal, new_console, printable, say

_WIDTH = 160  # where neither a terminal nor COLUMNS says it: written to a file, a table is as wide as it needs to be
_TEXT = 24  # characters in which a text may be folded; fewer are no table any more


def new_table(*columns: str, left: Collection[str] = (), optional: Collection[str] = (), **options: Any) -> Any:
    """A table of rich; texts stand left in its first column and in those named, numbers right in the others.

    Args:
        columns: headings.
        left: those of texts, which are folded where there is too little room; names and numbers never are.
        optional: columns that `show` leaves out of a narrow terminal, the first ones first, before it makes a list.
        options: of ``rich.table.Table``.
    """
    table = require("rich.table").Table(**options)
    for number, heading in enumerate(columns):
        is_text = heading in left
        justify = "left" if is_text or not number else "right"
        table.add_column(heading, justify=justify, no_wrap=not number or not is_text, overflow="fold")
    table.optional = tuple(optional)
    return table


def show(*things: Any) -> None:
    """Print tables and lines, as `printable` has them.

    No name and no number is ever cut: a table that is too wide is printed as a list.
    """
    console = new_console()
    for thing in map(_printed, things):
        if not is_terminal() and not os.environ.get("COLUMNS", "").isdigit():
            console.width = max(_WIDTH, _needed(thing, console) if hasattr(thing, "columns") else 0)
        fitting = _fit(thing, console) if hasattr(thing, "columns") else thing
        if fitting is not None:
            console.print(fitting)
            continue
        if thing.title:
            say(thing.title)
        for line in _as_list(thing, console.width):
            say(line)
        if thing.caption:
            say(thing.caption)


def _printed(thing: Any) -> Any:
    """A line or a table of printable texts."""
    if isinstance(thing, str):
        return printable(thing)
    for column in getattr(thing, "columns", ()):
        column._cells = [printable(cell) if isinstance(cell, str) else cell for cell in column._cells]
        if isinstance(column.header, str):
            column.header = printable(column.header)
    for text in ("title", "caption"):
        if isinstance(given := getattr(thing, text, None), str):
            setattr(thing, text, printable(given))
    return thing


def _fit(table: Any, console: Any) -> Any | None:
    """The table with as many of its columns as are whole in this width; None, and all of them, where it is a list."""
    left_out, everything = [], list(table.columns)
    for heading in (None, *getattr(table, "optional", ())):  # the first time with all of them
        found = [column for column in table.columns if column.header == heading]
        for column in found:
            table.columns.remove(column)
            left_out.append(" ".join(str(heading).split()))
        if _needed(table, console) <= console.width:
            if left_out:
                note = f"too narrow here for: {', '.join(left_out)}"
                table.caption = f"{table.caption}\n{note}" if table.caption else note
            for index, column in enumerate(table.columns):
                column._index = index
            return table
    table.columns[:] = everything  # a list has room for all of them
    return None


def _needed(table: Any, console: Any) -> int:
    """Characters of the narrowest form of a table in which all but folded texts is whole."""
    natural = console.measure(table, options=console.options.update(width=100_000)).maximum
    return int(natural) - sum(max(0, _width(column) - _TEXT) for column in table.columns if not column.no_wrap)


def _width(column: Any) -> int:
    lines = [line for cell in (column.header, *column.cells) for line in str(cell).splitlines()]
    return max(map(require("rich.cells").cell_len, lines), default=0)


def _as_list(table: Any, width: int) -> Iterator[str]:
    """Each row as lines: its name, then heading and value of every cell that has one."""
    headings = [" ".join(str(column.header).split()) for column in table.columns]
    indent = max(map(len, headings[1:]), default=0) + 2
    for row in zip(*(column.cells for column in table.columns), strict=True):
        yield str(row[0])
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            text = str(cell).strip()
            if text and 2 + indent + len(text) <= width:
                yield f"  {heading:{indent}}{text}"
            elif text:
                yield f"  {heading}"
                yield from textwrap.wrap(
                    text, max(width, 5), initial_indent="    ", subsequent_indent="    ", break_long_words=False
                )
