"""Results of several methods over several seeds, from the records of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

FORMAT = 1
_AVERAGED = (
    "last10_error_percent",
    "best_error_percent",
    "last_error_percent",
    "last_cross_entropy",
    "seconds",
    "images_per_second",
)


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
        "spread": {key: stdev(numbers) if len(numbers) > 1 else None for key, numbers in values.items()},
        "runs": [{key: record["metrics"][key] for key in _AVERAGED} for record in records.values()],
    }


def build_results(
    methods: Sequence[dict[str, Any]],
    *,
    data: str,
    environment: Mapping[str, Any],
    revision: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``results.json``: one entry per method, as `summarise_runs` makes them."""
    return {
        "format": FORMAT,
        "data": data,
        "methods": list(methods),
        "seconds": sum(run["seconds"] for method in methods for run in method["runs"]),
        "environment": dict(environment),
        "revision": dict(revision),
    }


def mean_and_spread(method: Mapping[str, Any], key: str, *, digits: int = 2) -> str:
    """``1.23 ± 0.45``, or the mean alone with a single seed."""
    mean, spread = method["mean"][key], method["spread"][key]
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} ± {spread:.{digits}f}"
