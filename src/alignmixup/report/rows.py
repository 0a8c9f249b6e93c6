"""One row a method: mean and spread over its runs, the distance to the baseline, the paper's number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignmixup.evaluation.published import published_error
from alignmixup.report.collect import Run
from alignmixup.report.names import rank, spell
from alignmixup.runs.comparison import difference, mean_and_spread, summarise_runs

KEY = "last10_error_percent"  # the number to compare


@dataclass(frozen=True)
class Row:
    """What the tables and charts show of a method.

    Attributes:
        label: as the run folders are called.
        runs: one a seed.
        summary: mean and spread, as ``results.json`` holds them.
        against: difference to the baseline, paired by seed; None without one, and for the baseline itself.
        unaligned: difference of AlignMixup, or of a method outside the package, to Manifold mixup with the same layers
            and shares, paired by seed: what aligning does; None without such runs, and for other methods.
        published: the paper's error of the best epoch in percent; None where it has none.
    """

    label: str
    runs: tuple[Run, ...]
    summary: Mapping[str, Any]
    against: Mapping[str, Any] | None = None
    unaligned: Mapping[str, Any] | None = None
    published: float | None = None

    @property
    def name(self) -> str:
        """For readers."""
        return spell(self.label)

    @property
    def method(self) -> str:
        """Name of the mixing method."""
        return str(self.runs[0].config["method"]["name"])

    def error(self, key: str = KEY) -> str:
        """Mean and spread of an error."""
        return mean_and_spread(self.summary, key)


def build_rows(runs: Sequence[Run]) -> list[Row]:
    """The rows of one data set, in the order of `names.rank`."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (rank(run.config["method"]["name"]), run.label, run.record["seed"])):
        groups.setdefault(run.label, []).append(run)
    rows = [_row(label, group) for label, group in groups.items()]
    baselines = [row for row in rows if row.method == "baseline"]
    manifold = [row for row in rows if row.method == "manifold_mixup"]
    return [replace(row, against=_against(row, baselines), unaligned=_unaligned(row, manifold)) for row in rows]


def _row(label: str, runs: Sequence[Run]) -> Row:
    config = runs[0].config
    return Row(
        label=label,
        runs=tuple(runs),
        summary=summarise_runs(label, {f"{run.path} seed {run.record['seed']}": dict(run.record) for run in runs}),
        published=published_error(config["data"]["name"], config["model"]["name"], config["method"]["name"]),
    )


def _against(row: Row, baselines: Sequence[Row]) -> dict[str, Any] | None:
    """To the baseline with the same network, data and recipe; where recipes differ, to the only one."""
    same = [other for other in baselines if _surroundings(other) == _surroundings(row)] or baselines
    return None if row.method == "baseline" or len(same) != 1 else difference(row.summary, same[0].summary)


def _unaligned(row: Row, manifold: Sequence[Row]) -> dict[str, Any] | None:
    """To the runs that mix as often, as much and at the same layers, without aligning."""
    if row.method != "alignmixup" and ":" not in row.method:
        return None
    same = [
        other for other in manifold if _mixing(other) == _mixing(row) and _surroundings(other) == _surroundings(row)
    ]
    return difference(row.summary, same[0].summary) if len(same) == 1 else None


def _mixing(row: Row) -> dict[str, Any]:
    options = row.runs[0].config["method"]
    layers = options.get("layer")
    shared = ("alpha", "lam_per", "probability", "input_probability", "layer_probabilities")
    return {key: options.get(key) for key in shared} | {"layer": [layers] if isinstance(layers, str) else layers}


def _surroundings(row: Row) -> dict[str, Any]:
    config = row.runs[0].config
    free = {("train", "seed"), ("train", "device"), ("train", "threads"), ("data", "root"), ("data", "workers")}
    return {
        table: {key: value for key, value in values.items() if (table, key) not in free}
        for table, values in config.items()
        if table not in ("method", "evaluation")
    }
