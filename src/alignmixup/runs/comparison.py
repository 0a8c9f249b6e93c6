"""Results of several methods over several seeds, from the records of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alignmixup.evaluation.published import published_error
from alignmixup.evaluation.summary import spread

if TYPE_CHECKING:
    from alignmixup.runs.scheduler import Outcome
    from alignmixup.runs.sweep import Variant

FORMAT = 1
ERRORS = ("last10_error_percent", "best_error_percent", "last_error_percent")
_AVERAGED = (*ERRORS, "last_cross_entropy", "seconds", "images_per_second")


def summarise_runs(name: str, records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of one method.

    Convention:
        - Spread is the sample standard deviation over seeds (n - 1); None with a single seed.

    Args:
        name: what the table calls the method.
        records: run folder -> its record, one a seed.
    """
    values = {key: [record["metrics"][key] for record in records.values()] for key in _AVERAGED}
    return {
        "name": name,
        "seeds": [record["seed"] for record in records.values()],
        "folders": list(records),
        "mean": {key: fmean(numbers) for key, numbers in values.items()},
        "spread": {key: spread(numbers) for key, numbers in values.items()},
        "runs": [{key: record["metrics"][key] for key in _AVERAGED} for record in records.values()],
    }


def difference(method: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far a method is from the baseline, paired by seed.

    Two runs with one seed share initial weights and the order of the images, so the spread of their difference says
    more about the method than the spreads of the two do.

    Convention:
        - Method minus baseline: negative is better than the baseline.
        - Over the seeds that both have. Spread as in `summarise_runs`.

    Args:
        method: what `summarise_runs` gives.
        baseline: the same, of the runs without mixing.

    Returns:
        Mean and spread of each error; None where they have no seed in common.
    """
    of_baseline = dict(zip(baseline["seeds"], baseline["runs"], strict=True))
    own = dict(zip(method["seeds"], method["runs"], strict=True))
    seeds = [seed for seed in method["seeds"] if seed in of_baseline]
    if not seeds:
        return None
    values = {key: [own[seed][key] - of_baseline[seed][key] for seed in seeds] for key in ERRORS}
    return {
        "baseline": baseline["name"],
        "seeds": seeds,
        "mean": {key: fmean(numbers) for key, numbers in values.items()},
        "spread": {key: spread(numbers) for key, numbers in values.items()},
    }


def build_results(
    methods: Sequence[dict[str, Any]],
    *,
    data: str,
    environment: Mapping[str, Any],
    revision: Mapping[str, Any],
    failures: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> dict[str, Any]:
    """The content of ``results.json``: one entry per method, as `summarise_runs` makes them.

    Args:
        methods: the rows.
        data: name of the data set.
        environment: as in a run's record.
        revision: as in a run's record.
        failures: runs without a result: their names, messages and logs.
        command: what was typed.
    """
    return {
        "format": FORMAT,
        "data": data,
        "command": command,
        "methods": list(methods),
        "failures": [dict(failure) for failure in failures],
        "seconds": sum(run["seconds"] for method in methods for run in method["runs"]),
        "environment": dict(environment),
        "revision": dict(revision),
    }


def mean_and_spread(method: Mapping[str, Any], key: str, *, digits: int = 2, sign: bool = False) -> str:
    """``1.23 ± 0.45``, or the mean alone with a single seed; ``sign`` writes a plus before positive means."""
    mean, spread = method["mean"][key], method["spread"][key]
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if spread is None else f"{text} ± {spread:.{digits}f}"


def collect_results(variants: Sequence[Variant], outcomes: Sequence[Outcome], *, command: str) -> dict[str, Any]:
    """The content of ``results.json``.

    Args:
        variants: the rows, in their order; one without any finished run is left out.
        outcomes: how the runs ended.
        command: what was typed.
    """
    finished = {outcome.job.name: outcome for outcome in outcomes if outcome.record is not None}
    methods: dict[str, dict[str, Any]] = {}
    for variant in variants:
        own = {
            str(outcome.job.folder.path): outcome.record
            for outcome in finished.values()
            if outcome.job.label == variant.label and outcome.record is not None
        }
        if own:
            methods[variant.label] = summarise_runs(variant.label, own) | {"settings": dict(variant.values)}
    for variant in variants:
        if variant.label in methods:
            config = variant.config
            reported = published_error(config.data.name, config.model.name, config.method.name)
            methods[variant.label] |= {
                "published_error_percent": reported,
                "difference": _difference(variant, variants, methods),
            }
    last = next(reversed(finished.values())).record
    assert last is not None
    return build_results(
        list(methods.values()),
        data=variants[0].config.data.name,
        environment=last["environment"],
        revision=last["revision"],
        failures=[
            {"name": outcome.job.name, "failure": outcome.failure, "log": str(outcome.job.log)}
            for outcome in outcomes
            if outcome.failure
        ],
        command=command,
    )


def _difference(
    variant: Variant, variants: Sequence[Variant], methods: Mapping[str, dict[str, Any]]
) -> dict[str, Any] | None:
    """Against the run without mixing that has the same swept values of everything but the method."""
    for other in variants:
        if (
            other.config.method.name == "baseline"
            and other.label in methods
            and other.label != variant.label
            and other.surroundings == variant.surroundings
        ):
            return difference(methods[variant.label], methods[other.label])
    return None
