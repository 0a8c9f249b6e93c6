"""Everything that is measured about trained networks: one, or several into one table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean, median
from typing import Any

from alignmixup.evaluation.summary import asked_otherwise, group_by_method, in_common, summarise_evaluations
from alignmixup.figures.ood import draw_ood
from alignmixup.figures.reliability import draw_reliability
from alignmixup.figures.representation import draw_representation
from alignmixup.figures.robustness import draw_attacks, draw_corruptions
from alignmixup.figures.save import FigureKind, figure_of_each_kind, figures_to_draw
from alignmixup.files import locked
from alignmixup.records import EVALUATION_FILE, last_ten, write_sealed
from alignmixup.runs.loading import as_run
from alignmixup.runs.measurements import CONVENTIONS, Measurements, Progress, check_alone
from alignmixup.runs.options.base import check_arguments
from alignmixup.runs.options.evaluation import PARTS, Plan, build_plan
from alignmixup.runs.record import environment, source_revision
from alignmixup.runs.run import Run
from alignmixup.runs.stored.baseline import add_mean_corruption_error, check_baseline
from alignmixup.runs.stored.evaluation import (
    check_summary,
    compare,
    merge_attacks,
    merge_corruptions,
)
from alignmixup.runs.stored.settings import (
    FORMAT,
    circumstances_of,
    configuration_of,
    files_of,
    own_images,
    settings_of,
)
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine
from alignmixup.training.progress.images import image_progress

Result = dict[str, Any]
_log = logging.getLogger(__name__)


def evaluate(
    run: Run | str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = image_progress,
    **options: Any,
) -> Result:
    """Measure one network.

    Args:
        run: the network, or its run folder.
        out: JSON file to write, with figures beside it; None writes nothing. What it answers already is read, and it
            keeps what is not asked for.
        overwrite: measure anew what the file answers, and replace what it says of another network or question.
        progress: shows how far a part is.
        options: those of `EvaluationOptions`, such as ``what="all", limit=1000``; what cannot be used is a ValueError
            or an OSError.

    Returns:
        The numbers with their conventions, settings and circumstances, ready for JSON. Nothing is kept on the run.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> record = runs.train("digits/mixup", "runs/quick", overrides=quick)
        >>> numbers = runs.evaluate(runs.load("runs/quick"), what="calibration")
        >>> 0 <= numbers["calibration"]["ece_percent"] <= 100
        True
    """
    check_arguments(out=out, overwrite=overwrite, progress=progress)
    file = Path(out) if out else None
    return evaluate_several([as_run(run)], build_plan(**options), out=file, overwrite=overwrite, progress=progress)[0]


def evaluate_several(
    runs: Sequence[Run],
    plan: Plan,
    *,
    out: Path | None,
    overwrite: bool = False,
    progress: Progress = image_progress,
    known: Callable[[Path], None] = lambda file: None,
) -> list[Result]:
    """Measure networks, each into a file of its own, and write their summary and figures; return one result a run.

    What a run's file already answers about the same weights is read, unless ``overwrite`` measures it anew; ``known``
    is told of each file that answers all. What else the file says of these weights is kept. ``out`` is the JSON file
    that it ends in: the result of a single run, the summary of several. None reads and writes nothing.

    Raises:
        ConfigError: a file that is there holds no evaluation; or, without ``overwrite``, a damaged one or numbers
            that would be lost.
    """
    files, tested = _places(runs, plan, out, overwrite=overwrite), _tested(runs)
    if plan.baseline and "corruptions" in plan.parts:
        check_baseline(runs, tested, plan, plan.baseline)  # hours of measuring come after it
    with locked(*[file for file in (out, *files) if file]):  # what a file holds already is read, and stays in it
        return _into_files(runs, files, tested, plan, out=out, overwrite=overwrite, progress=progress, known=known)


def _into_files(
    runs: Sequence[Run],
    files: Sequence[Path | None],
    tested: Sequence[str],
    plan: Plan,
    *,
    out: Path | None,
    overwrite: bool,
    progress: Progress,
    known: Callable[[Path], None],
) -> list[Result]:
    found = [
        compare(run, plan, file, images, overwrite=overwrite) if file else ({}, plan)
        for run, file, images in zip(runs, files, tested, strict=True)
    ]
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    results = []
    for run, file, images, (stored, left) in zip(runs, files, tested, found, strict=True):
        if left.parts:
            asked = settings_of(run, plan) | ({"files": images} if images else {})
            stored = _measure(run, left, file, progress, stored=stored, asked=asked)  # noqa: PLW2901
        elif file:
            known(file)
        results.append(stored)
    if "corruptions" in plan.parts and plan.baseline:
        add_mean_corruption_error(runs, results, plan, plan.baseline)
        for result, file in zip(results, files, strict=True):
            if file:
                write_sealed(file, result)
    if out and len(runs) > 1:
        circumstances = [{key: one[key] for key in ("run", "method", "seed")} for one in results]
        summary = {"format": FORMAT, "methods": summarise_evaluations(results), "runs": circumstances}
        write_sealed(out, summary | {"settings": results[0]["settings"]})
    for line in asked_otherwise(results):
        _log.warning(line)
    if out:
        draw_figures(results, out, plan.figures)
    return results


def _places(runs: Sequence[Run], plan: Plan, out: Path | None, *, overwrite: bool) -> list[Path | None]:
    """The file of each run; what makes measuring or writing impossible is refused here."""
    group_by_method([circumstances_of(run) for run in runs])
    check_alone("an evaluation")
    if out is None:
        return [None] * len(runs)
    for folder in [run.folder for run in runs if run.folder]:
        folder.check_output(out)
    if len(runs) == 1:
        return [out]
    check_summary(out, overwrite=overwrite)
    return [_file_of(run, out) for run in runs]


def _tested(runs: Sequence[Run]) -> list[str]:
    """`files_of` the test images of each, of which most are of the same ones."""
    first = {run.config.data: run.config for run in runs}
    found = {data: files_of(config, "test").get("test", "") for data, config in first.items()}
    return [found[run.config.data] for run in runs]


def default_out(runs: Sequence[Run]) -> Path:
    """Where the result of these runs goes: `Run.result_file` of one; of several, the folder that holds them all."""
    if len(runs) == 1:
        return runs[0].result_file
    folders = [run.folder.path for run in runs if run.folder]
    if len(folders) < len(runs) or len({folder.resolve().parent for folder in folders}) > 1:
        raise ConfigError("the runs lie in several folders: say with --out where their table goes")
    return folders[0].parent / EVALUATION_FILE


def figure_files(results: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """The figures beside ``out``: of each part that all results hold; of scores, those of a single run."""
    results = in_common(results)
    shared = [part for part in _DRAWN if all(part in result for result in results)]
    shared += ["ood"] if len(results) == 1 and "ood" in results[0] else []
    return [file for part in shared for file in figure_of_each_kind(_beside(out, part)) if file.is_file()]


def draw_figures(results: Sequence[Mapping[str, Any]], out: Path, kind: FigureKind) -> None:
    """Draw what all results hold beside the JSON file ``out``; scores are drawn while they are measured."""
    results = in_common(results)
    groups = group_by_method(results)
    for part, draw in _DRAWN.items():
        if all(part in result for result in results):
            for file in figures_to_draw(_beside(out, part), kind):
                draw(groups, file)
    scores = _beside(out, "ood").with_suffix(f".{kind}")
    if len(results) == 1 and "ood" in results[0] and not scores.is_file():
        _log.warning("%s needs scores, which are not stored: --what ood --overwrite measures and draws them", scores)


def mean_corruptions(several: Sequence[Mapping[str, Any]]) -> Result:
    """Errors under corruptions, averaged over runs of the same corruptions, at least one."""
    first = several[0]
    errors = {
        kind: [fmean(values) for values in zip(*(one["error_percent"][kind] for one in several), strict=True)]
        for kind in first["kinds"]
    }
    mean = {key: fmean(one[key] for one in several) for key in ("clean_error_percent", "mean_error_percent")}
    means = {kind: fmean(values) for kind, values in errors.items()}
    return {**first, **mean, "error_percent": errors, "kind_error_percent": means}


def _measure(run: Run, plan: Plan, file: Path | None, progress: Progress, *, stored: Result, asked: Result) -> Result:
    """Everything that is left in the plan, into ``file``, beside what is ``stored``; ``asked`` are all its settings.

    Each part is written when it is done. Histograms of scores are drawn here, where all scores are.
    """
    with closing(Engine(run.config.train)) as engine:
        measurements = Measurements(run, plan, engine, progress=progress)
        measurements.check()
        known = {part: value for part, value in stored.get("settings", {}).get("parts", {}).items() if part in PARTS}
        result = {
            "format": FORMAT,
            "run": run.name,
            "method": run.method,
            "seed": run.seed,
            "data": measurements.dataset.name,
            "configuration": configuration_of(run),
            "weights": run.weights.name if run.weights else "published",
            **measurements.error(),
            "recorded": recorded_errors(run, asked.get("files", "")),
            **{part: stored[part] for part in known if part in stored},
            "batch_size": 0,
            "environment": environment(engine.device),
            "revision": source_revision(),
        }
        for part in dict.fromkeys(["error", *plan.parts]):
            settings = asked["parts"][part]
            if part == "attacks":
                before = stored.get(part, {}), known.get(part, {})
                result[part], settings = merge_attacks(*before, measurements.attacks(), settings)
            elif part == "corruptions":
                before = stored.get(part, {}), known.get(part, {})
                settings = settings_of(run, plan)["parts"][part]
                result[part], settings = merge_corruptions(*before, measurements.corruptions(), settings)
            elif part != "error":
                settings = settings_of(run, plan)["parts"][part]
                result[part] = getattr(measurements, part)()
            known[part] = settings
            result["settings"] = asked | {"parts": {name: known[name] for name in PARTS if name in known}}
            result["conventions"] = {key: CONVENTIONS[key] for key in CONVENTIONS if key in ("weights", *known)}
            result["batch_size"] = measurements.batch_size
            if file and part == "ood":  # first: what the file answers is not measured again
                title = f"{run.name}, {measurements.dataset.name}"
                for figure in figures_to_draw(_beside(file, "ood"), plan.figures):
                    draw_ood(measurements.readable_logits, measurements.ood_logits, figure, title=title)
            if file:
                write_sealed(file, result)
    return result


def recorded_errors(run: Run, tested: str = "") -> Result | None:
    """What the run's record says of its error: best, last, mean and median of the last 10 epochs.

    None without one, or on other images than those of the run, which the record says nothing of. ``tested`` is what
    `files_of` says of them.
    """
    shown = circumstances_of(run)["settings"]["images"]
    if run.record is None or run.choice.data is not None or shown != own_images(run):
        return None
    if tested and run.record.get("image_files", {}).get("test", tested) != tested:
        return None
    last10 = last_ten(run.record["curve"])
    kept = ("best_error_percent", "best_epoch", "last_error_percent")
    return {
        **{key: run.record["metrics"][key] for key in kept},
        "last10_error_percent": fmean(last10),
        "last10_median_error_percent": median(last10),
        "last10_epochs_evaluated": len(last10),
    }


def _beside(file: Path, part: str) -> Path:
    return file.with_name(f"{file.stem}-{part}.png")


def _file_of(run: Run, out: Path) -> Path:
    """Where one of several results goes."""
    if run.folder:
        return run.result_file
    return out.with_name(f"{out.stem}-{run.name.replace(':', '-')}.json")


def _draw_corruptions(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    means = {label: mean_corruptions([one["corruptions"] for one in several]) for label, several in groups.items()}
    draw_corruptions(means, path)


_DRAWN = {
    "calibration": draw_reliability,
    "representation": draw_representation,
    "attacks": draw_attacks,
    "corruptions": _draw_corruptions,
}
