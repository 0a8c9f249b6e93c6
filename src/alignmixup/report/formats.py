"""A table as CSV, Markdown or LaTeX."""

import csv
import io
from collections.abc import Callable, Sequence

from alignmixup.report.markdown import markdown_table
from alignmixup.report.tables import Table

_SPREAD = " ± "
# LaTeX's own characters; the backslash first, in one pass
_ESCAPED = {ord(char): f"\\{char}" for char in "&%$#_{}"}
_ESCAPED |= {ord("\\"): r"\textbackslash{}", ord("~"): r"\textasciitilde{}", ord("^"): r"\textasciicircum{}"}
_ESCAPED |= {ord("±"): r"$\pm$", ord("λ"): r"$\lambda$", ord("ε"): r"$\epsilon$"}
_ESCAPED |= {ord("−"): "$-$", ord("<"): "$<$", ord(">"): "$>$", ord("|"): "$|$"}


def csv_table(table: Table) -> str:
    """Numbers for programs: where cells have a spread it is a column of its own, ``... sd``."""
    columns: list[list[str]] = []
    for heading, *cells in zip(table.headings, *table.rows, strict=True):
        pairs = [cell.partition(_SPREAD) for cell in cells]
        columns.append([heading, *(mean for mean, _, _ in pairs)])
        if any(mark for _, mark, _ in pairs):
            columns.append([f"{heading} sd", *(deviation for _, _, deviation in pairs)])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(zip(*columns, strict=True))
    return file.getvalue()


def latex_table(table: Table) -> str:
    """A ``tabular`` with the rules of the package booktabs; the first column left, the others right."""
    lines = [
        f"\\begin{{tabular}}{{l{'r' * (len(table.headings) - 1)}}}",
        r"\toprule",
        _line(table.headings),
        r"\midrule",
        *map(_line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(_number(cell).translate(_ESCAPED) for cell in cells)} \\\\"


def _number(cell: str) -> str:
    """A minus sign that is none of text, by LaTeX's own dash."""
    return f"−{cell[1:]}" if cell[:1] == "-" and cell[1:2].isdigit() else cell


FORMATS: dict[str, Callable[[Table], str]] = {"csv": csv_table, "markdown": markdown_table, "latex": latex_table}
ENDINGS = {".csv": "csv", ".md": "markdown", ".tex": "latex"}
