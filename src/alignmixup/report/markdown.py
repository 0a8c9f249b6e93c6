"""Tables of results for the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignmixup.report.rows import Row, build_rows
from alignmixup.report.runs import find_runs
from alignmixup.runs.comparison import mean_and_spread

Column = tuple[str, Callable[[Row], str]]

# `<!-- results NAME: COLUMN, COLUMN -->`, a table, `<!-- end of results -->`
_MARKED = re.compile(
    r"(<!-- results (?P<name>[\w.-]+): (?P<columns>[\w, -]+) -->\n)(?P<table>.*?)(<!-- end of results -->)", re.DOTALL
)


def _difference(against: Mapping[str, Any] | None) -> str:
    return mean_and_spread(against, "last10_error_percent", sign=True) if against else ""


def _loss(row: Row) -> str:
    first, last = (
        sum(run.record["curve"][epoch]["train_loss"] for run in row.runs) / len(row.runs) for epoch in (0, -1)
    )
    return f"{first:.2f}, {last:.2f}"


COLUMNS: dict[str, Column] = {
    "method": ("method", lambda row: row.name),
    "last10": ("last 10", lambda row: row.error("last10_error_percent")),
    "best": ("best", lambda row: row.error("best_error_percent")),
    "last": ("last", lambda row: row.error("last_error_percent")),
    "against": ("minus baseline", lambda row: _difference(row.against)),
    "unaligned": ("minus unaligned", lambda row: _difference(row.unaligned)),
    "paper": ("paper (best)", lambda row: "" if row.published is None else f"{row.published:.2f}"),
    "cross-entropy": (
        "test cross-entropy",
        lambda row: mean_and_spread(row.summary, "last_cross_entropy", digits=3),
    ),
    "loss": ("training loss, first and last epoch", _loss),
    "seconds": ("seconds", lambda row: f"{row.summary['mean']['seconds']:.1f}"),
    "rate": ("images/s", lambda row: f"{row.summary['mean']['images_per_second']:.0f}"),
    "seeds": ("seeds", lambda row: str(len(row.runs))),
}
DEFAULT_COLUMNS = ("method", "last10", "against", "unaligned", "best", "paper", "seconds", "seeds")


def markdown_table(rows: Sequence[Row], columns: Sequence[str] = DEFAULT_COLUMNS) -> str:
    """A table of these columns; without a choice, those in which nothing stands are left out.

    Raises:
        ValueError: a column that does not exist.
    """
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    cells = {COLUMNS[column][0]: [COLUMNS[column][1](row) for row in rows] for column in columns}
    if tuple(columns) == DEFAULT_COLUMNS:
        cells = {heading: column for heading, column in cells.items() if any(column)}
    lines = [_line(list(cells)), "|" + "---|" * len(cells), *(_line(row) for row in zip(*cells.values(), strict=True))]
    return "\n".join(lines) + "\n"


def rebuild(text: str, results: Path) -> str:
    """A page whose marked tables are made anew from stored records.

    A table stands between ``<!-- results NAME: COLUMN, COLUMN -->`` and ``<!-- end of results -->``; NAME is a folder
    of ``results``.

    Raises:
        FileNotFoundError: there is no such folder, or no record in it.
        ValueError: a column that does not exist, records of several data sets.
    """

    def table(match: re.Match[str]) -> str:
        rows = build_rows(find_runs([results / match["name"]]))
        columns = [column.strip() for column in match["columns"].split(",")]
        return f"{match[1]}{markdown_table(rows, columns)}{match[5]}"

    return _MARKED.sub(table, text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
