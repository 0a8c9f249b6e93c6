"""Tables of results for the documentation."""

import re
from collections.abc import Sequence
from pathlib import Path

from alignmixup.report.collect import find_runs
from alignmixup.report.rows import build_rows, warnings
from alignmixup.report.tables import Table, tabulate

# `<!-- results NAME: COLUMN, COLUMN -->`, a table, `<!-- end of results -->`
_MARKED = re.compile(
    r"(<!-- results (?P<name>[\w.-]+): (?P<columns>[\w, -]+) -->\n)(?P<table>.*?)(<!-- end of results -->)", re.DOTALL
)


def markdown_table(table: Table) -> str:
    """The table alone, without caption and note."""
    return "".join([_line(table.headings), "|" + "---|" * len(table.headings) + "\n", *map(_line, table.rows)])


def rebuild(text: str, results: Path) -> str:
    """A page whose marked tables are made anew from stored records, with what a reader of differences must know.

    A table stands between ``<!-- results NAME: COLUMN, COLUMN -->`` and ``<!-- end of results -->``; NAME is a folder
    of ``results``.

    Raises:
        FileNotFoundError: there is no such folder, or no record in it.
        ValueError: a column that does not exist, records of several data sets.
    """

    def table(match: re.Match[str]) -> str:
        rows = build_rows(find_runs([results / match["name"]]))
        columns = [column.strip() for column in match["columns"].split(",")]
        told = warnings(rows) if any(column.endswith(("against", "unaligned")) for column in columns) else []
        notes = "".join(f"\n{warning}\n" for warning in told)
        return f"{match[1]}{markdown_table(tabulate(rows, columns))}{notes}{match[5]}"

    return _MARKED.sub(table, text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"
