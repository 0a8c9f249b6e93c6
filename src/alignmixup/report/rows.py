"""One row a method: mean and spread over its runs, the distance to the baseline, the paper's number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alignmixup.evaluation.published import published_error
from alignmixup.evaluation.summary import Number
from alignmixup.report.collect import Run
from alignmixup.report.names import rank, spell
from alignmixup.runs.comparison.results import OF_A_METHOD, difference, mean_and_spread, summarise_runs
from alignmixup.training.meaning import (
    IMAGES,
    OF_ONE_ROW,
    Flat,
    Tables,
    as_written,
    differing,
    meaning,
    plain,
    same,
)
from alignmixup.training.overrides import override_value

KEY = "last10_error_percent"  # the number to compare


@dataclass(frozen=True)
class Row:
    """What the tables and charts show of a method.

    Attributes:
        label: as the run folders are called, and what differs where runs of several configurations are called so.
        runs: one a seed, of one configuration and of the same images.
        summary: mean and spread, as ``results.json`` holds them.
        against: difference to the baseline, paired by seed; None without one, and for the baseline itself.
        apart: keys outside the method in which that baseline differs; empty where none does.
        unaligned: difference of AlignMixup, or of a method outside the package, to Manifold mixup with the same layers
            and shares, paired by seed: what aligning does; None without such runs, and for other methods.
        published: the paper's error of the best epoch in percent; None where it has none.
        measured: of each seed what `alignmixup evaluate` measured, by the names of `evaluation.summary.headline`;
            filled by `measured.with_measured`, as is the next.
        baseline_measured: the same of the baseline's runs of these seeds, of the same images.
    """

    label: str
    runs: tuple[Run, ...]
    summary: Mapping[str, Any]
    against: Mapping[str, Any] | None = None
    apart: tuple[str, ...] = ()
    unaligned: Mapping[str, Any] | None = None
    published: float | None = None
    measured: Mapping[int, Mapping[str, Number]] = field(default_factory=dict)
    baseline_measured: Mapping[int, Mapping[str, Number]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For readers."""
        return spell(self.label)

    @property
    def method(self) -> str:
        """Name of the mixing method."""
        return str(self.runs[0].config["method"]["name"])

    @property
    def images(self) -> str:
        """Which images they are of; empty where no run says it."""
        return next((run.images for run in self.runs if run.images), "")

    def error(self, key: str = KEY) -> str:
        """Mean and spread of an error."""
        return mean_and_spread(self.summary, key)


def build_rows(runs: Sequence[Run]) -> list[Row]:
    """The rows of one data set, in the order of `names.rank`."""
    rows = [_row(label, group) for label, group in _grouped(runs)]
    baselines = [row for row in rows if row.method == "baseline"]
    manifold = [row for row in rows if row.method == "manifold_mixup"]
    return [replace(_compared(row, baselines), unaligned=_unaligned(row, manifold)) for row in rows]


def warnings(rows: Sequence[Row]) -> list[str]:
    """What a reader of the numbers must know: pairs that share less than all but the method, and what was left out."""
    found = [
        f"Minus baseline of {row.name}: the only baseline differs in {', '.join(row.apart)} too."
        for row in rows
        if row.apart
    ]
    elsewhere = {
        "baseline": [row.name for row in rows if row.against and row.against["elsewhere"]],
        "unaligned": [row.name for row in rows if row.unaligned and row.unaligned["elsewhere"]],
    }
    found += [
        f"Minus {other} of {', '.join(names)}: runs of one seed were made by different machines or versions of torch. "
        "Their draws are the same, their rounding is not."
        for other, names in elsewhere.items()
        if names
    ]
    return found + [
        f"Left out of {row.name}, seed {run.record['seed']}: {', '.join(run.outdated)}, of a network from before the "
        "record; measure or draw them again."
        for row in rows
        for run in row.runs
        if run.outdated
    ]


def _grouped(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Runs of one label, configuration and images; where a label has several groups, its names say what differs."""
    groups: list[tuple[str, list[Run]]] = []
    for run in sorted(runs, key=lambda run: (rank(run.config["method"]["name"]), run.label, run.record["seed"])):
        images = _images(run, runs)
        for its_images, group in groups:
            if (group[0].label, its_images) == (run.label, images) and _alike(run, group[0]):
                group.append(run)
                break
        else:
            groups.append((images, [run]))
    firsts = [(images, group[0]) for images, group in groups]
    return [(_named(run, images, firsts), group) for (images, run), (_, group) in zip(firsts, groups, strict=True)]


def _alike(run: Run, other: Run) -> bool:
    """Whether two runs differ in nothing that changes a number, images aside, which a stored record does not know."""
    return same(run.config, other.config, but=(*OF_ONE_ROW, IMAGES))


def _images(run: Run, runs: Sequence[Run]) -> str:
    """Those of the run; of a stored record, which does not say, those of the runs like it if these agree."""
    alike = {
        other.images
        for other in (() if run.images else runs)
        if other.images and other.label == run.label and _alike(run, other)
    }
    place = run.images or (alike.pop() if len(alike) == 1 else "")
    several = any(run.is_of_other_files(other) for other in runs if other.label == run.label and _alike(run, other))
    return ", ".join(filter(None, [place, *(run.files.values() if several else ())]))


def _named(run: Run, images: str, firsts: Sequence[tuple[str, Run]]) -> str:
    """The label of a row, and its values of what differs in others of that label."""
    own: dict[str, Any] = {}
    for its_images, other in firsts:
        if other.label == run.label:
            found = differing(run.config, other.config, but=(*OF_ONE_ROW, IMAGES))
            own |= {key: plain(value) for key, (value, _) in found.items() if value is not None}
            own |= {IMAGES: images} if images and images != its_images else {}
    return ",".join([run.label, *(f"{key}={override_value(value)}" for key, value in own.items())])


def _row(label: str, runs: Sequence[Run]) -> Row:
    config = runs[0].config
    return Row(
        label=label,
        runs=tuple(runs),
        summary=summarise_runs(label, {f"{run.path} seed {run.record['seed']}": dict(run.record) for run in runs}),
        published=published_error(config["data"]["name"], config["model"]["name"], config["method"]["name"]),
    )


def _compared(row: Row, baselines: Sequence[Row]) -> Row:
    """With its distance to the baseline that differs in the method alone; to the only one, if none does."""
    if row.method == "baseline":
        return row
    found = _partner(row, baselines) or (baselines[0] if len(baselines) == 1 else None)
    against = found and difference(row.summary, found.summary)
    return replace(row, against=against, apart=tuple(_differing(row, found))) if found and against else row


def _unaligned(row: Row, manifold: Sequence[Row]) -> dict[str, Any] | None:
    """To the runs that mix as often, as much and at the same layers, without aligning."""
    if row.method != "alignmixup" and ":" not in row.method:
        return None
    whole = meaning if row.method == "alignmixup" else as_written  # defaults of code outside are not known
    found = _partner(row, [other for other in manifold if _mixing(other, whole) == _mixing(row, whole)])
    return difference(row.summary, found.summary) if found else None


def _partner(row: Row, others: Sequence[Row]) -> Row | None:
    """The one that differs in the method alone; of several that with the most pairs of one machine, then the first."""
    own = row.runs[0].config
    alike = (other for other in others if same(own, other.runs[0].config, but=(*OF_A_METHOD, IMAGES)))
    mine = [other for other in alike if other.images == row.images]

    def pairs(other: Row) -> int:
        found = difference(row.summary, other.summary)
        return len(found["seeds"]) - len(found["elsewhere"]) if found else -1

    return max((other for other in mine if not row.runs[0].is_of_other_files(other.runs[0])), key=pairs, default=None)


def _differing(row: Row, other: Row) -> list[str]:
    """The keys outside the method in which two rows differ, and the images if they do."""
    found = differing(row.runs[0].config, other.runs[0].config, but=(*OF_A_METHOD, IMAGES))
    unlike = row.images != other.images or (not found and row.runs[0].is_of_other_files(other.runs[0]))
    return [*found, *([IMAGES] if unlike else [])]


def _mixing(row: Row, whole: Callable[[Tables], Flat]) -> dict[str, Any]:
    options = whole(row.runs[0].config)
    layers = options.get("method.layer")
    shared = ("alpha", "lam_per", "probability", "input_probability", "layer_probabilities")
    found = {key: options.get(f"method.{key}") for key in shared}
    return found | {"layer": [layers] if isinstance(layers, str) else layers}
