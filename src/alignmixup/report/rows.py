"""One row a method: mean and spread over its runs, the distance to the baseline, the paper's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignmixup.evaluation.published import published_error
from alignmixup.report.names import rank, spell
from alignmixup.report.runs import Run
from alignmixup.training.comparison import difference, mean_and_spread, summarise_runs


@dataclass(frozen=True)
class Row:
    """What the tables and charts show of a method.

    Attributes:
        label: as the run folders are called.
        runs: one a seed.
        summary: mean and spread, as ``results.json`` holds them.
        against: difference to the baseline, paired by seed; None without one, and for the baseline itself.
        published: the paper's error of the best epoch in percent; None where it has none.
    """

    label: str
    runs: tuple[Run, ...]
    summary: Mapping[str, Any]
    against: Mapping[str, Any] | None = None
    published: float | None = None

    @property
    def name(self) -> str:
        """For readers."""
        return spell(self.label)

    @property
    def method(self) -> str:
        """Name of the mixing method."""
        return str(self.runs[0].config["method"]["name"])

    def error(self, key: str = "last10_error_percent") -> str:
        """Mean and spread of an error."""
        return mean_and_spread(self.summary, key)


def build_rows(runs: Sequence[Run]) -> list[Row]:
    """The rows of one data set, in the order of `names.rank`.

    Args:
        runs: of one data set.
    """
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (rank(run.config["method"]["name"]), run.record["seed"])):
        groups.setdefault(run.label, []).append(run)
    rows = [_row(label, group) for label, group in groups.items()]
    baselines = [row for row in rows if row.method == "baseline"]
    return [_compared(row, baselines) for row in rows]


def _row(label: str, runs: Sequence[Run]) -> Row:
    config = runs[0].config
    return Row(
        label=label,
        runs=tuple(runs),
        summary=summarise_runs(label, {str(run.path): dict(run.record) for run in runs}),
        published=published_error(config["data"]["name"], config["model"]["name"], config["method"]["name"]),
    )


def _compared(row: Row, baselines: Sequence[Row]) -> Row:
    """Against the baseline with the same network, data and recipe; where recipes differ, against the only one."""
    same = [other for other in baselines if _surroundings(other) == _surroundings(row)] or baselines
    if row.method == "baseline" or len(same) != 1:
        return row
    against = difference(row.summary, same[0].summary)
    return Row(row.label, row.runs, row.summary, against=against, published=row.published)


def _surroundings(row: Row) -> dict[str, Any]:
    config = row.runs[0].config
    free = {("train", "seed"), ("train", "device"), ("train", "threads"), ("data", "root"), ("data", "workers")}
    return {
        table: {key: value for key, value in values.items() if (table, key) not in free}
        for table, values in config.items()
        if table not in ("method", "evaluation")
    }
