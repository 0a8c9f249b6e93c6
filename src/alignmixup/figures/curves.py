"""Training loss and test error over the epochs."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import count_along, log_where_wide, name_ends
from alignmixup.figures.palette import FIRST, SECOND, dashes, series
from alignmixup.figures.save import Target, drawing
from alignmixup.records import last_ten

LABELS = {"error_percent": "test error (%)", "train_loss": "training loss (mixed labels)"}
_POINTS = 240  # of a curve, at most
_NAMED = 8  # more names find no room beside the curves

Record = Mapping[str, Any]


def draw_curves(record: Record, path: Target) -> None:
    """Draw a run's loss and error, from its ``record.json``."""
    metrics, config = record["metrics"], record["config"]
    with drawing(path, width=9, height=3.4) as figure:
        left, right = figure.subplots(1, 2)
        for axes, key, colour in ((left, "train_loss", FIRST), (right, "error_percent", SECOND)):
            epochs, mean, _, _ = mean_curve([record], key)
            axes.plot(epochs, mean, color=colour)
            _label(axes, key)
        best, last, tests = (
            metrics["best_error_percent"],
            metrics["last10_error_percent"],
            len(last_ten(record["curve"])),
        )
        right.set_title(f"best {best:.2f} %, last {tests} {last:.2f} %")
        figure.suptitle(f"{config['method']['name']} on {config['data']['name']}, seed {record['seed']}")


def draw_mean_curves(
    groups: Sequence[tuple[str, Sequence[Record]]], key: str, path: Target, *, banded: Collection[int] = ()
) -> None:
    """Draw one quantity, a ``key`` of `LABELS`, of several methods: (name, records of its runs) each.

    The lines are means; up to eight are named. The groups of these numbers (``banded``) show their runs as an area,
    from the smallest to the largest.
    """
    with drawing(path, width=4, height=3.1) as figure:
        axes = figure.subplots()
        for number, (_, records) in enumerate(groups):
            epochs, mean, low, high = mean_curve(records, key)
            if number in banded:
                axes.fill_between(epochs, low, high, color=series(number), alpha=0.15, linewidth=0)
            axes.plot(epochs, mean, color=series(number), linestyle=dashes(number))
        _label(axes, key)
        axes.margins(x=0.02)
        if len(groups) <= _NAMED:
            name_ends(axes, [name for name, _ in groups])


def mean_curve(records: Sequence[Record], key: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Epochs from 1 that all runs have, and their mean, smallest and largest values; long curves are thinned."""
    runs = [{entry["epoch"] + 1: entry[key] for entry in record["curve"] if key in entry} for record in records]
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    step = max(1, len(epochs) // _POINTS)
    kept = sorted({*epochs[::step], *epochs[-1:]})
    values = [[run[epoch] for run in runs] for epoch in kept]
    return kept, [fmean(v) for v in values], [min(v) for v in values], [max(v) for v in values]


def _label(axes: Any, key: str) -> None:
    axes.set_ylabel(LABELS[key])
    log_where_wide(axes, "y", [value for line in axes.lines for value in line.get_ydata()])
    count_along(axes, "epoch")
