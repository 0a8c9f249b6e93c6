"""The table that ``alignmixup compare`` ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignmixup.runs.comparison import mean_and_spread

_WIDTH = 120  # of the table off a terminal


def print_table(results: Mapping[str, Any]) -> None:
    """Print the results, the smallest mean error in bold."""
    from alignmixup.outside import require

    methods = results["methods"]
    columns = _columns(methods)
    table = require("rich.table").Table(
        title=f"{results['data']}: test error, mean ± standard deviation over seeds", caption=_caption(methods)
    )
    for number, heading in enumerate(columns):
        table.add_column(heading, justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
    best = min(method["mean"]["last10_error_percent"] for method in methods)
    for row in zip(methods, *columns.values(), strict=True):
        is_best = row[0]["mean"]["last10_error_percent"] == best
        table.add_row(*row[1:], style="bold" if is_best else None)
    console = require("rich.console").Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    console.print(table)
    print(f"{results['seconds']:.0f} s of training and evaluation in all")


def _columns(methods: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Heading -> its cells; a column in which nothing would stand is left out."""
    columns = {
        "method": [method["name"] for method in methods],
        "error %\n(last 10)": [mean_and_spread(method, "last10_error_percent") for method in methods],
        "- baseline": [_against(method) for method in methods],
        "error %\n(best)": [mean_and_spread(method, "best_error_percent") for method in methods],
        "paper\n(best)": [_reported(method) for method in methods],
        "error %\n(last)": [mean_and_spread(method, "last_error_percent") for method in methods],
        "seconds": [f"{method['mean']['seconds']:.1f}" for method in methods],
        "images/s": [f"{method['mean']['images_per_second']:.0f}" for method in methods],
        "seeds": [str(len(method["seeds"])) for method in methods],
    }
    return {heading: cells for heading, cells in columns.items() if any(cells)}


def _against(method: Mapping[str, Any]) -> str:
    difference = method["difference"]
    return mean_and_spread(difference, "last10_error_percent", sign=True) if difference else ""


def _reported(method: Mapping[str, Any]) -> str:
    error = method["published_error_percent"]
    return "" if error is None else f"{error:.2f}"


def _caption(methods: Sequence[Mapping[str, Any]]) -> str | None:
    lines = []
    if any(method["difference"] for method in methods):
        lines.append("- baseline: difference of the last 10, paired by seed; below 0 is better than the baseline")
    if any(method["published_error_percent"] is not None for method in methods):
        lines.append("paper: AlignMixup, CVPR 2022: full network and number of epochs, best epoch, one number")
    return "\n".join(lines) or None
