"""What `alignmixup evaluate` measured of the runs of rows, and how far that is from the baseline."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alignmixup.evaluation.summary import Number, asked_otherwise, in_common, numbers_of
from alignmixup.report.collect import Run
from alignmixup.report.rows import Row
from alignmixup.runs.comparison.results import averaged
from alignmixup.training.meaning import IMAGES

_TAKEN = ("limit", "seed")  # which images a part takes
_log = logging.getLogger(__name__)


def with_measured(rows: Sequence[Row]) -> list[Row]:
    """The rows with what their evaluations have `in_common`, and with that of the baseline that they are compared to.

    What is asked otherwise of each, or of other images, is left out and told of.
    """
    measured = [run for row in rows for run in _of_same_files(row)]
    results = [run.evaluation for run in measured]
    for line in asked_otherwise(results):
        _log.warning(line)
    numbers = {id(run): numbers_of(one) for run, one in zip(measured, in_common(results), strict=True)}
    rows = [
        replace(row, measured={_seed(run): numbers[id(run)] for run in row.runs if id(run) in numbers}) for row in rows
    ]
    baselines = {row.label: row for row in rows if row.method == "baseline"}
    return [
        replace(row, baseline_measured=_paired(row, baselines[row.against["baseline"]])) if row.against else row
        for row in rows
    ]


def minus_baseline(row: Row, key: str) -> Mapping[str, Any] | None:
    """Difference of a measured number to the baseline, paired by seed, of as many images; None without a pair."""
    pairs = [
        (numbers[key], row.baseline_measured[seed][key])
        for seed, numbers in row.measured.items()
        if key in numbers and key in row.baseline_measured.get(seed, ())
    ]
    values = [own.value - other.value for own, other in pairs if own.images == other.images]
    return averaged({key: values}) if values else None


def _seed(run: Run) -> int:
    return int(run.record["seed"])


def _paired(row: Row, baseline: Row) -> dict[int, Mapping[str, Number]]:
    """Numbers of the baseline's runs that were asked as those of the row were, of the same images, by seed."""
    if IMAGES in row.apart:
        return {}
    own, other = ({_seed(run): run.evaluation for run in one.runs} for one in (row, baseline))
    return {
        seed: numbers
        for seed, numbers in baseline.measured.items()
        if seed in own and _asked_alike(own[seed], other[seed])
    }


def _asked_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations are of the same files and epoch, and took the same images for each part of both."""
    own, its = (evaluation.get("settings", {}) for evaluation in (one, other))
    files = {settings["files"] for settings in (own, its) if settings.get("files")}
    weights = {evaluation["weights"] for evaluation in (one, other) if evaluation.get("weights")}
    parts, others = own.get("parts", {}), its.get("parts", {})
    shared = [(parts[part], others[part]) for part in parts if part in others]
    taken = all(part.get(key) == other.get(key) for part, other in shared for key in _TAKEN)
    return taken and len(files) < 2 and len(weights) < 2


def _of_same_files(row: Row) -> list[Run]:
    """The runs of a row that were evaluated, on the test files that most of them were; others are told of."""
    runs = [run for run in row.runs if run.evaluation]
    files = [run.evaluation.get("settings", {}).get("files") for run in runs]
    counted = Counter(filter(None, files)).most_common()
    if len(counted) < 2:
        return runs
    kept = [run for run, of in zip(runs, files, strict=True) if of in (None, counted[0][0])]
    seeds = ", ".join(str(run.record["seed"]) for run in runs if run not in kept)
    text = "%s: the evaluation of seed %s is of other test images (most are of %s) and left out; evaluate it again"
    _log.warning(text, row.label, seeds, counted[0][0])
    return kept
