"""The tables of pages and of the documentation: their headings, and what stands below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignmixup.evaluation.published import published_localization
from alignmixup.evaluation.summary import Number
from alignmixup.report.collect import Run
from alignmixup.report.measured import minus_baseline, with_measured
from alignmixup.report.names import spell
from alignmixup.report.rows import KEY, Row
from alignmixup.runs.comparison.results import averaged, mean_and_spread
from alignmixup.runs.record import best_chosen_on


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
# the same of what `alignmixup evaluate` measured
MEASURED: dict[str, tuple[str, Callable[[Row], str]]] = {
    "ece": ("ECE", lambda row: _of_all(row, "ece_percent")),
    "ece-against": ("ECE minus baseline", lambda row: _minus_baseline(row, "ece_percent")),
    "confidence": ("mean confidence", lambda row: _of_all(row, "mean_confidence_percent")),
    "overconfidence": ("over-confidence", lambda row: _of_all(row, "overconfidence_percent")),
    "unscaled-ece": ("ECE, every other image", lambda row: _of_all(row, "unscaled_ece_percent")),
    "scaled-ece": ("ECE after temperature", lambda row: _of_all(row, "scaled_ece_percent")),
    "corrupted": ("error on corrupted images", lambda row: _of_all(row, "corruption_error_percent")),
    "corrupted-against": ("corrupted minus baseline", lambda row: _minus_baseline(row, "corruption_error_percent")),
}
DEFAULT_COLUMNS = ("method", "last10", "against", "unaligned", "best", "paper", "seconds", "seeds")
_ALL = ("method", "seeds", "last10", "against", "unaligned", "best", "paper", "last", "cross-entropy", "time", "rate")
_NOTE = (
    "In percent, mean ± standard deviation over the runs. Last 10: mean over the tests in the last ten epochs, the "
    "number to compare. Best: the best epoch, chosen on {chosen_on}. Minus baseline: paired by seed, below 0 is better."
)


def tabulate(rows: Sequence[Row], columns: Sequence[str] | None = None, **more: Any) -> Table:
    """A table of these `COLUMNS` and `MEASURED`; without a choice, those in which nothing stands are left out. ``more``
    goes to `Table`.

    Raises:
        ValueError: a column that does not exist.
    """
    known = COLUMNS | MEASURED
    unknown = [column for column in columns or () if column not in known]
    if unknown:
        raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(known)}")
    if not MEASURED.keys().isdisjoint(columns or ()):
        rows = with_measured(rows)
    chosen = [(known[name][0], [known[name][1](row) for row in rows]) for name in columns or DEFAULT_COLUMNS]
    shown = [(heading, cells) for heading, cells in chosen if columns or any(cells)]
    return Table([heading for heading, _ in shown], list(zip(*(cells for _, cells in shown), strict=True)), **more)


def error_table(rows: Sequence[Row]) -> Table:
    """Everything that the records of the runs say about error and time, the lowest error emphasised."""
    filled = [name for name in _ALL if any(COLUMNS[name][1](row) for row in rows)]
    unaligned = " Minus unaligned: the same against Manifold mixup at the same layers." * ("unaligned" in filled)
    best = min(range(len(rows)), key=lambda number: rows[number].summary["mean"][KEY])
    note = _NOTE.format(chosen_on=_chosen_on(rows)) + unaligned
    return tabulate(rows, filled, caption="Test error", note=note, best=best)


def _chosen_on(rows: Sequence[Row]) -> str:
    """Which images chose the best epochs: those that all errors of these runs are of."""
    named = list(dict.fromkeys(best_chosen_on(run.config) for row in rows for run in row.runs))
    if len(named) > 1:
        return f"{' or '.join(named)}, which all errors of a run are of"
    own, papers = named[0], best_chosen_on({"data": {}})
    return f"{own}, as the papers report it" if own == papers else f"{own}, which all errors are of"


# group -> key of `evaluation.summary.headline` -> heading, digits
_GROUPS: dict[str, dict[str, tuple[str, int]]] = {
    "Error": {
        "error_percent": ("error", 2),
        "top5_error_percent": ("top-5 error", 2),
        "best_error_percent": ("best epoch", 2),
        "last10_error_percent": ("last 10", 2),
        "cross_entropy": ("cross-entropy", 3),
    },
    "Calibration": {
        "ece_percent": ("ECE", 2),
        "overconfidence_percent": ("over-confidence", 2),
        "mean_confidence_percent": ("mean confidence", 2),
        "brier": ("Brier score", 3),
        "unscaled_ece_percent": ("ECE, every other image", 2),
        "scaled_ece_percent": ("after temperature, every other image", 2),
    },
    "Representation": {
        "within_class_percent": ("within classes", 1),
        "effective_rank": ("effective rank of a class", 1),
        "spectrum_largest": ("its largest singular value", 3),
        "spectrum_rest": ("sum of its others", 2),
        "wrong_confidence_percent": ("mean confidence of errors", 2),
    },
    "Between and around images": {
        "label_changes": ("label changes between two images", 2),
        "other_class_percent": ("neither class between them", 2),
        "detour": ("detour between them", 3),
        **{f"step_{step}_change_percent": (f"change at {step}/255", 2) for step in (1, 4, 16)},
    },
    "Under attack": {},  # keys that end in " error_percent", by the attack
    "Other data": {
        "detection_accuracy_percent": ("detection accuracy", 2),
        "auroc_percent": ("AUROC", 2),
        "aupr_in_percent": ("AUPR, in", 2),
        "aupr_out_percent": ("AUPR, out", 2),
        "fpr95_percent": ("FPR95", 2),
    },
    "Corruptions": {"corruption_error_percent": ("mean error", 2), "mce_percent": ("mCE", 2)},
}
_NOTES = {
    "Error": "In percent but for cross-entropy. Best epoch and last 10: of the record.",
    "Calibration": "In percent but for the Brier score.",
    "Representation": "In percent but for the rank and the singular values, which are in units of the norm of a class.",
    "Between and around images": "In percent but for label changes and the detour, a distance of probabilities; change "
    "of probabilities at a random step.",
    "Under attack": "Error in percent after the attack.",
    "Other data": "In percent: test images told from others by their largest probability, mean over the other sets.",
    "Corruptions": "Error in percent, mean over kinds of the mean over severities.",
}
_COUNTED = {
    "Representation": "representation",
    "Between and around images": "representation",
    "Under attack": "attacks",
    "Other data": "ood",
    "Corruptions": "corruptions",
}


def evaluation_tables(rows: Sequence[Row]) -> list[Table]:
    """What `alignmixup evaluate` measured, a table for each kind of measure, a row a method: mean ± spread.

    Runs without a kind of measure do not count in its table; the others are compared by what they have `in_common`.
    The first number of a table has its difference to the baseline beside it, where there is one to pair with.
    """
    rows = with_measured(rows)
    found = [
        (row, [(run, numbers) for run in row.runs if (numbers := row.measured.get(run.record["seed"]))]) for row in rows
    ]
    keys = list(dict.fromkeys(key for _, several in found for _, one in several for key in one))
    groups = {group: {key: own[key] for key in own if key in keys} for group, own in _GROUPS.items()}
    known = {key for own in groups.values() for key in own}
    for key in keys:
        if key.endswith(" error_percent"):
            groups["Under attack"][key] = (key.removesuffix(" error_percent"), 2)
        elif key not in known:
            groups["Error"][key] = (key.removesuffix("_percent").replace("_", " "), 3)
    return [_measured(group, own, found) for group, own in groups.items() if own]


def _measured(
    group: str,
    headings: Mapping[str, tuple[str, int]],
    found: Sequence[tuple[Row, Sequence[tuple[Run, Mapping[str, Number]]]]],
) -> Table:
    first = next(iter(headings))
    paired = any(minus_baseline(row, first) for row, _ in found)
    lines, counted = [], []
    for row, several in found:
        runs = [run for run, numbers in several if not headings.keys().isdisjoint(numbers)]
        if runs:
            cells = [_of_all(row, key, digits) for key, (_, digits) in headings.items()]
            cells[1:1] = [_minus_baseline(row, first, headings[first][1])] if paired else []
            lines.append([row.name, *cells, _images(group, runs), str(len(runs))])
            counted += runs
    which = sorted({str(run.evaluation.get("weights", "")) for run in counted})
    weights = {"model.safetensors": "of the last epoch", "model_best.safetensors": "of the best epoch"}
    of = " and ".join(weights.get(name, name) for name in which if name)
    note = _NOTES[group] + (f" Weights {of}." if of else "")
    note += " Minus baseline: of the first number, paired by seed." if paired else ""
    named = [text for text, _ in headings.values()]
    named[1:1] = ["minus baseline"] if paired else []
    return Table(["method", *named, "images", "runs"], lines, caption=group, note=note)


def _of_all(row: Row, key: str, digits: int = 2) -> str:
    """Mean and spread of a measured number over the runs that have it."""
    values = [numbers[key].value for numbers in row.measured.values() if key in numbers]
    return mean_and_spread(averaged({key: values}), key, digits=digits) if values else ""


def _minus_baseline(row: Row, key: str, digits: int = 2) -> str:
    found = minus_baseline(row, key)
    return mean_and_spread(found, key, digits=digits, sign=True) if found else ""


def _images(group: str, runs: Sequence[Run]) -> str:
    """How many images the numbers of a group are of."""
    counts = set()
    for run in runs:
        part = run.evaluation.get(_COUNTED[group], {}) if group in _COUNTED else run.evaluation
        of_sets = [one["in_images"] for one in part.get("sets", {}).values()]
        counts.add(min(of_sets, default=part.get("images")))
    return ", ".join(str(count) for count in sorted(count for count in counts if count is not None))


_LOCALIZED = {
    "error_percent": "error",
    "max_box_acc.largest": "MaxBoxAcc",
    "max_box_acc_v2.all": "MaxBoxAccV2",
    "max_box_acc.all": "IoU 0.5, all contours",
    "max_box_acc_v2.largest": "mean of 3 IoU, largest contour",
    "cutmix_paper": "as in the CutMix paper",
}
_LOCALIZED_GROUPS = {
    "Localisation by score maps": "Images with a matching box at the best threshold, %, mean ± standard deviation.",
    "Top-1 localisation": "Class right and IoU of 0.5, %, by choice of the threshold; mean ± standard deviation.",
}


def localization_tables(found: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A row for each group of each ``localization.json``, with the paper's numbers if any; a table for each kind."""
    groups = [(group, one) for one in found for group in one.get("groups", ())]
    keys = list(dict.fromkeys(key for group, _ in groups for key in group["mean"]))
    of_boxes = [key for key in _LOCALIZED if key in keys and key.startswith("max_box_acc")]
    of_boxes += [key for key in keys if key.startswith("max_box_acc") and key not in of_boxes]
    others = [key for key in keys if key not in of_boxes]
    reported = [_reported(group, one) for group, one in groups]
    tables = []
    for (caption, note), own in zip(_LOCALIZED_GROUPS.items(), (of_boxes, others), strict=True):
        names = [_LOCALIZED.get(key, key.removeprefix("top1.").removesuffix("_percent")) for key in own]
        lines = [
            [spell(group["name"]), *(mean_and_spread(group, key) if key in group["mean"] else "" for key in own)]
            + [str(one.get("images", "")), str(len(group["runs"]))]
            + [paper] * any(reported)
            for (group, one), paper in zip(groups, reported, strict=True)
        ]
        if own:
            headings = ["method", *names, "images", "runs", *["paper"] * any(reported)]
            tables.append(Table(headings, lines, caption=caption, note=note))
    return tables


def _reported(group: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    run: Mapping[str, Any] = next((run for run in result.get("runs", ()) if run.get("run") in group["runs"]), {})
    numbers = published_localization(result.get("data", ""), run.get("model", ""), run.get("method", ""))
    return f"Top-1 {numbers['top1']:.1f}, MaxBoxAcc-v2 {numbers['maxboxacc_v2']:.1f}" if numbers else ""
