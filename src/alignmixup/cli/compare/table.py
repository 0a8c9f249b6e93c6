"""The table that ``alignmixup compare`` ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignmixup.cli.table import new_table, show
from alignmixup.runs.comparison.results import mean_and_spread
from alignmixup.terminal import say

# what a narrow terminal goes without first; results.json has it all
_OPTIONAL = ("error %\n(last)", "images/s", "seeds", "seconds", "error %\n(best)", "paper\n(best)")


def print_table(results: Mapping[str, Any]) -> None:
    """Print the results, the smallest mean error in bold."""
    methods = results["methods"]
    columns = _columns(methods)
    title = f"{results['data']}: test error, mean ± standard deviation over seeds"
    table = new_table(*columns, optional=_OPTIONAL, title=title, caption=_caption(methods))
    errors = [method["mean"]["last10_error_percent"] for method in methods]
    for error, *cells in zip(errors, *columns.values(), strict=True):
        table.add_row(*cells, style="bold" if error == min(errors) else None)
    show(table)
    say(f"{results['seconds']:.0f} s of training and evaluation in all")


def _columns(methods: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Heading -> its cells; a column in which nothing would stand is left out."""
    tests = max(method.get("last10_epochs_evaluated", 10) for method in methods)
    published = [method["published_error_percent"] for method in methods]
    columns = {
        "method": [method["name"] for method in methods],
        f"error %\n(last {tests})": [mean_and_spread(method, "last10_error_percent") for method in methods],
        "- baseline": [
            mean_and_spread(method["difference"], "last10_error_percent", sign=True) if method["difference"] else ""
            for method in methods
        ],
        "error %\n(best)": [mean_and_spread(method, "best_error_percent") for method in methods],
        "paper\n(best)": ["" if error is None else f"{error:.2f}" for error in published],
        "error %\n(last)": [mean_and_spread(method, "last_error_percent") for method in methods],
        "seconds": [f"{method['mean']['seconds']:.1f}" for method in methods],
        "images/s": [f"{method['mean']['images_per_second']:.0f}" for method in methods],
        "seeds": [str(len(method["seeds"])) for method in methods],
    }
    return {heading: cells for heading, cells in columns.items() if any(cells)}


def _caption(methods: Sequence[Mapping[str, Any]]) -> str | None:
    lines = []
    if any(method["difference"] for method in methods):
        lines.append(
            "- baseline: difference of the mean of the last ones, paired by seed; below 0 is better than the baseline"
        )
    together: dict[str, list[str]] = {}
    for method in methods:
        if keys := (method["difference"] or {}).get("differing"):
            together.setdefault(", ".join(keys), []).append(method["name"])
    lines += [
        f"{', '.join(names)} and the baseline differ in more than the method: {k}" for k, names in together.items()
    ]
    if elsewhere := [method["name"] for method in methods if (method["difference"] or {}).get("elsewhere")]:
        lines.append(f"{', '.join(elsewhere)} and the baseline ran on different machines or versions of torch")
    if any(method["published_error_percent"] is not None for method in methods):
        lines.append("paper: AlignMixup, CVPR 2022: full network and number of epochs, best epoch, one number")
    return "\n".join(lines) or None
