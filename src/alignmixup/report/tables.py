"""The tables of pages and of the documentation: their headings, and what stands below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignmixup.evaluation.published import published_localization
from alignmixup.evaluation.summary import headline
from alignmixup.report.collect import Run
from alignmixup.report.names import spell
from alignmixup.report.rows import KEY, Row
from alignmixup.runs.comparison import mean_and_spread


@dataclass(frozen=True)
class Table:
    """Texts; the first of each row names it. ``best`` is the number of the row to emphasise, ``note`` says more."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    note: str = ""
    best: int | None = None


def duration(seconds: float) -> str:
    """``42.0 s``, ``5.1 min`` or ``3.2 h``."""
    size, unit = (1, "s") if seconds < 90 else (60, "min") if seconds < 5400 else (3600, "h")
    return f"{seconds / size:.1f} {unit}"


def _difference(against: Mapping[str, Any] | None) -> str:
    return mean_and_spread(against, KEY, sign=True) if against else ""


def _loss(row: Row) -> str:
    first, last = (
        sum(run.record["curve"][epoch]["train_loss"] for run in row.runs) / len(row.runs) for epoch in (0, -1)
    )
    return f"{first:.2f}, {last:.2f}"


COLUMNS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "method": ("method", lambda row: row.name),
    "last10": ("last 10", lambda row: row.error(KEY)),
    "best": ("best", lambda row: row.error("best_error_percent")),
    "last": ("last", lambda row: row.error("last_error_percent")),
    "against": ("minus baseline", lambda row: _difference(row.against)),
    "unaligned": ("minus unaligned", lambda row: _difference(row.unaligned)),
    "paper": ("paper (best)", lambda row: "" if row.published is None else f"{row.published:.2f}"),
    "cross-entropy": ("test cross-entropy", lambda row: mean_and_spread(row.summary, "last_cross_entropy", digits=3)),
    "loss": ("training loss, first and last epoch", _loss),
    "seconds": ("seconds", lambda row: f"{row.summary['mean']['seconds']:.1f}"),
    "time": ("time of a run", lambda row: duration(row.summary["mean"]["seconds"])),
    "rate": ("images/s", lambda row: f"{row.summary['mean']['images_per_second']:.0f}"),
    "seeds": ("seeds", lambda row: str(len(row.runs))),
}
DEFAULT_COLUMNS = ("method", "last10", "against", "unaligned", "best", "paper", "seconds", "seeds")
_ALL = ("method", "seeds", "last10", "against", "unaligned", "best", "paper", "last", "cross-entropy", "time", "rate")
_NOTE = (
    "In percent, mean ± standard deviation over the runs. Last 10: mean over the tests in the last ten epochs, the "
    "number to compare. Best: the best epoch, chosen on the test set, as the papers report it. Minus baseline: paired "
    "by seed, below 0 is better."
)


def tabulate(rows: Sequence[Row], columns: Sequence[str] | None = None, **more: Any) -> Table:
    """A table of these `COLUMNS`; without a choice, those in which nothing stands are left out. ``more`` goes to
    `Table`.

    Raises:
        ValueError: a column that does not exist.
    """
    unknown = [column for column in columns or () if column not in COLUMNS]
    if unknown:
        raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    chosen = [(COLUMNS[name][0], [COLUMNS[name][1](row) for row in rows]) for name in columns or DEFAULT_COLUMNS]
    shown = [(heading, cells) for heading, cells in chosen if columns or any(cells)]
    return Table([heading for heading, _ in shown], list(zip(*(cells for _, cells in shown), strict=True)), **more)


def error_table(rows: Sequence[Row]) -> Table:
    """Everything that the records of the runs say about error and time, the lowest error emphasised."""
    filled = [name for name in _ALL if any(COLUMNS[name][1](row) for row in rows)]
    unaligned = " Minus unaligned: the same against Manifold mixup at the same layers." * ("unaligned" in filled)
    best = min(range(len(rows)), key=lambda number: rows[number].summary["mean"][KEY])
    return tabulate(rows, filled, caption="Test error", note=_NOTE + unaligned, best=best)


def evaluation_table(rows: Sequence[Row]) -> Table | None:
    """Calibration, attacks, other data, corruptions: whatever `alignmixup evaluate` measured in any run.

    Raises:
        ValueError: an evaluation of another version; says what to do.
    """
    found = [(row, run, _headline(run)) for row in rows for run in row.runs if run.evaluation]
    keys = list(dict.fromkeys(key for _, _, numbers in found for key in numbers))
    if not found:
        return None
    return Table(
        ["method", "seed", *(key.removesuffix("_percent").replace("_", " ") for key in keys)],
        [
            [row.name, str(run.record["seed"]), *(f"{numbers[key]:.3f}" if key in numbers else "" for key in keys)]
            for row, run, numbers in found
        ],
        caption="Further measures of the final weights",
        note="In percent but for cross-entropy, Brier score and the measures of detection.",
    )


def _headline(run: Run) -> dict[str, float]:
    try:
        return headline(run.evaluation)
    except (KeyError, TypeError) as error:
        file = run.path / "evaluation.json"
        raise ValueError(
            f"{file} is of another version ({error}): run `alignmixup evaluate {run.path}` again"
        ) from None


def localization_table(found: Sequence[Mapping[str, Any]]) -> Table | None:
    """A row for each group of each ``localization.json``, with the paper's numbers if any; None without a group."""
    groups = [(group, one) for one in found for group in one.get("groups", ())]
    keys = list(dict.fromkeys(key for group, _ in groups for key in group["mean"]))
    if not keys:
        return None
    reported = [_reported(group, one) for group, one in groups]
    own = [
        [spell(group["name"]), str(len(group["runs"]))]
        + [mean_and_spread(group, key) if key in group["mean"] else "" for key in keys]
        for group, _ in groups
    ]
    named = [key.removesuffix("_percent").replace("_", " ").replace(".", ", ") for key in keys]
    return Table(
        ["method", "runs", *named, *["paper"] * any(reported)],
        [[*cells, *[paper] * any(reported)] for cells, paper in zip(own, reported, strict=True)],
        caption="Localisation by score maps",
        note="In percent, mean ± standard deviation.",
    )


def _reported(group: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    run: Mapping[str, Any] = next((run for run in result.get("runs", ()) if run.get("run") in group["runs"]), {})
    numbers = published_localization(result.get("data", ""), run.get("model", ""), run.get("method", ""))
    return f"Top-1 {numbers['top1']:.1f}, MaxBoxAcc-v2 {numbers['maxboxacc_v2']:.1f}" if numbers else ""
