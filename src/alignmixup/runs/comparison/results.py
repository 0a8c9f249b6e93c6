"""What the records of a comparison say: ``results.json``, its means and spreads, and the distance to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alignmixup.evaluation.published import published_error
from alignmixup.evaluation.summary import spread
from alignmixup.records import last_ten
from alignmixup.runs.record import rounding
from alignmixup.runs.sweep import Variant
from alignmixup.training.meaning import OF_ONE_ROW, differing, same

if TYPE_CHECKING:
    from alignmixup.runs.jobs.queue import Outcome

FORMAT = 1
ERRORS = ("last10_error_percent", "best_error_percent", "last_error_percent")
_AVERAGED = (*ERRORS, "last_cross_entropy", "seconds", "images_per_second")
OF_A_METHOD = (*OF_ONE_ROW, "method")  # in what a method and its baseline may differ


def averaged(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Mean and spread of each of several numbers: the sample standard deviation (n - 1), None of a single one."""
    return {
        "mean": {key: fmean(numbers) for key, numbers in values.items()},
        "spread": {key: spread(numbers) for key, numbers in values.items()},
    }


def summarise_runs(name: str, records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of one method.

    Convention:
        - Spread is the sample standard deviation over seeds (n - 1); None with a single seed.
    """
    values = {key: [record["metrics"][key] for record in records.values()] for key in _AVERAGED}
    return {
        "name": name,
        "seeds": [record["seed"] for record in records.values()],
        "folders": list(records),
        "last10_epochs_evaluated": max(len(last_ten(record["curve"])) for record in records.values()),
        **averaged(values),
        "runs": [
            {key: record["metrics"][key] for key in _AVERAGED} | {"rounding": rounding(record)}
            for record in records.values()
        ],
    }


def difference(method: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far a method is from the baseline, paired by seed.

    Two runs with one seed share initial weights and the order of the images, so the spread of their difference says
    more about the method than the spreads of the two do.

    Convention:
        - Method minus baseline: negative is better than the baseline.
        - Over the seeds that both have. Spread as in `summarise_runs`.
        - ``elsewhere``: those of them that were trained on another machine, or by another torch, than the baseline's.
          The draws are the same there, and the rounding is not, which grows while a network learns.
    """
    of_baseline = dict(zip(baseline["seeds"], baseline["runs"], strict=True))
    of_method = dict(zip(method["seeds"], method["runs"], strict=True))
    seeds = [seed for seed in method["seeds"] if seed in of_baseline]
    if not seeds:
        return None
    values = {key: [of_method[seed][key] - of_baseline[seed][key] for seed in seeds] for key in ERRORS}
    elsewhere = [seed for seed in seeds if of_method[seed]["rounding"] != of_baseline[seed]["rounding"]]
    return {"baseline": baseline["name"], "seeds": seeds, "elsewhere": elsewhere, **averaged(values)}


def mean_and_spread(method: Mapping[str, Any], key: str, *, digits: int = 2, sign: bool = False) -> str:
    """``1.23 ± 0.45``, or the mean alone with a single seed; ``sign`` writes a plus before positive means."""
    mean, spread = method["mean"][key], method["spread"][key]
    text = f"{mean:{'+' if sign else ''}.{digits}f}"
    return text if spread is None else f"{text} ± {spread:.{digits}f}"


def collect_results(
    variants: Sequence[Variant], outcomes: Sequence[Outcome], *, commands: Sequence[str]
) -> dict[str, Any]:
    """The content of ``results.json``.

    Args:
        variants: the rows.
        outcomes: of their runs.
        commands: what was typed to make them, the last one last; empty for a call from Python.
    """
    methods: dict[str, dict[str, Any]] = {}
    for variant in variants:
        records = {
            str(one.job.folder.path): one.record for one in outcomes if one.record and one.job.label == variant.label
        }
        if records:
            config = variant.config
            methods[variant.label] = summarise_runs(variant.label, records) | {
                "settings": dict(variant.values),
                "published_error_percent": published_error(config.data.name, config.model.name, config.method.name),
            }
    for variant in variants:
        if variant.label in methods:
            methods[variant.label]["difference"] = _difference(variant, variants, methods)
    last = next((outcome.record for outcome in reversed(outcomes) if outcome.record), {})
    return {
        "format": FORMAT,
        "data": variants[0].config.data.name,
        "command": commands[-1],
        "commands": list(commands),
        "methods": list(methods.values()),
        "failures": [
            {"name": outcome.job.name, "failure": outcome.failure, "log": str(outcome.job.log)}
            for outcome in outcomes
            if outcome.failure
        ],
        "seconds": sum(run["seconds"] for method in methods.values() for run in method["runs"]),
        "environment": last.get("environment", {}),
        "revision": last.get("revision", {}),
    }


def _difference(
    variant: Variant, variants: Sequence[Variant], methods: Mapping[str, dict[str, Any]]
) -> dict[str, Any] | None:
    """Against the row without mixing that differs in the method alone; against the only one there is otherwise.

    ``differing`` names the keys in which that one differs.
    """
    if variant.config.method.name == "baseline":
        return None
    others = [one for one in variants if one.config.method.name == "baseline" and one.label in methods]
    # free keys, such as the number of threads, may be swept too: first those of the same values
    others.sort(key=lambda one: one.surroundings != variant.surroundings)
    alike = [one for one in others if same(variant.config, one.config, but=OF_A_METHOD)]
    if not alike and len(others) != 1:
        return None
    other = (alike or others)[0]
    found = difference(methods[variant.label], methods[other.label])
    if found is not None and not alike:
        found["differing"] = list(differing(variant.config, other.config, but=OF_A_METHOD))
    return found
