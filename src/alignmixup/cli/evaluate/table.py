"""Tables of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignmixup.cli.table import new_table, show
from alignmixup.evaluation.summary import headline, in_common, summarise_evaluations
from alignmixup.runs.comparison.results import mean_and_spread
from alignmixup.terminal import say

_NAMES = {
    "error_percent": "error %",
    "top5_error_percent": "top-5 error %",
    "cross_entropy": "cross-entropy",
    "best_error_percent": "error % (best epoch, record)",
    "last10_error_percent": "error % (last {tests}, record)",
    "ece_percent": "ECE %",
    "unscaled_ece_percent": "ECE % of every other image",
    "scaled_ece_percent": "the same after temperature",
    "overconfidence_percent": "OE %",
    "mean_confidence_percent": "mean confidence %",
    "brier": "Brier score",
    "spectrum_largest": "largest singular value of a class, relative",
    "spectrum_rest": "sum of its others",
    "effective_rank": "effective rank of a class",
    "within_class_percent": "within classes % of the features' energy",
    "wrong_confidence_percent": "mean confidence % of errors",
    "label_changes": "label changes between two images",
    "other_class_percent": "neither image's class between them %",
    "detour": "detour of probabilities between them",
    **{f"step_{step}_change_percent": f"change % of probabilities at {step}/255" for step in (1, 4, 16)},
    "detection_accuracy_percent": "OOD detection accuracy %",
    "auroc_percent": "OOD AUROC %",
    "aupr_in_percent": "OOD AUPR % (in)",
    "aupr_out_percent": "OOD AUPR % (out)",
    "fpr95_percent": "OOD FPR95 %",
    "corruption_error_percent": "error % corrupted",
    "mce_percent": "mCE %",
}
_FOUR_DIGITS = ("cross_entropy", "brier", "spectrum_largest", "detour")
# what a line has room for; the table of methods holds the rest
_OF_A_RUN = ("error_percent", "ece_percent", "auroc_percent", "corruption_error_percent", "mce_percent")


def print_tables(results: Sequence[Mapping[str, Any]]) -> None:
    """Everything that was measured: the runs, the methods, what the checks of attacks warn of."""
    if len(results) > 1:
        print_runs(results)
    print_methods(summarise_evaluations(results), results)
    print_checks(results)


def print_runs(results: Sequence[Mapping[str, Any]]) -> None:
    """One row a run."""
    rows = [headline(result) for result in in_common(results)]
    keys = [key for key in rows[0] if key in _OF_A_RUN or key.endswith(" error_percent")]
    keys = [key for key in keys if all(key in row for row in rows)]
    table = new_table("run", *map(name_of, keys))
    for result, row in zip(results, rows, strict=True):
        table.add_row(result["run"], *(f"{row[key]:.{_digits(key)}f}" for key in keys))
    say(_title(results))
    show(table)


def print_methods(summaries: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> None:
    """One row a measure, one column a method: mean ± standard deviation over its seeds."""
    several = any(len(summary["seeds"]) > 1 for summary in summaries)
    title = _title(results) + (", mean ± standard deviation over seeds" if several else "")
    if any(summary["interval"] for summary in summaries):
        title += "; in brackets: 95 % bootstrap interval over the images"
    counts = [(summary["method"], len(summary["seeds"])) for summary in summaries]
    names = [name + (f" ({count} seeds)" if count > 1 else "") for name, count in counts]
    table = new_table("", *names, "images")
    keys = dict.fromkeys(key for summary in summaries for key in summary["mean"])
    tests = max(((result.get("recorded") or {}).get("last10_epochs_evaluated", 0) for result in results), default=0)
    for key in keys:
        cells = [_cell(summary, key) if key in summary["mean"] else "-" for summary in summaries]
        images = sorted({count for summary in summaries for count in summary["images"].get(key, ())})
        table.add_row(name_of(key).replace("{tests}", str(tests or 10)), *cells, ", ".join(map(str, images)))
    say(title)  # above the table: as its own title it would be broken to the table's width
    show(table)


def _cell(summary: Mapping[str, Any], key: str) -> str:
    """A number with its spread over seeds, or that of a single run with its 95 % interval."""
    text = mean_and_spread(summary, key, digits=_digits(key))
    low, high = summary["interval"].get(key, (None, None))
    return text if low is None else f"{text} ({low:.{_digits(key)}f} to {high:.{_digits(key)}f})"


def print_checks(results: Sequence[Mapping[str, Any]]) -> None:
    """What the checks of the attacks found, a line for each that did not pass."""
    for result in results:
        checks = result.get("attacks", {}).get("checks")
        if not checks:
            continue
        failed = [check for check in checks["checks"] if not check["passed"]]
        said = f"{result['run']}: checks of {checks['attack']} on {checks['images']} images: "
        say(said + (f"{len(failed)} of {len(checks['checks'])} warn" if failed else "all passed"))
        for check in failed:
            say(f"  {check['name']}: {check['problem']}")


def name_of(key: str) -> str:
    """A number's name in a table."""
    return _NAMES.get(key, key.replace("error_percent", "error %"))


def _digits(key: str) -> int:
    return 4 if key in _FOUR_DIGITS else 2


def _title(results: Sequence[Mapping[str, Any]]) -> str:
    data = ", ".join(dict.fromkeys(result["data"] for result in results))
    images = ", ".join(dict.fromkeys(str(result["images"]) for result in results))
    where = f"{results[0]['run']}, " if len(results) == 1 else ""
    return f"{where}{data}, {images} test images"
