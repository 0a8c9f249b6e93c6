"""Several methods over several seeds: their runs, and what the records say of them."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alignmixup.evaluation.published import published_error
from alignmixup.evaluation.summary import spread
from alignmixup.files import locked
from alignmixup.outside import is_outside, require
from alignmixup.records import last_ten, read_record, read_results, write_sealed
from alignmixup.runs.baseline import choose_baseline, differing
from alignmixup.runs.folder import Mode, RunFolder, complete, data_folder
from alignmixup.runs.folder import difference as found_difference
from alignmixup.runs.plan import check_arguments
from alignmixup.runs.sweep import Variant, expand, parse_sweep
from alignmixup.training.config import Config, to_dict
from alignmixup.training.config_file import ConfigError, images_of
from alignmixup.training.processes.ranks import is_main_process

if TYPE_CHECKING:
    from alignmixup.figures.save import FigureKind
    from alignmixup.runs.jobs.queue import Display, Job, Outcome

_log = logging.getLogger(__name__)

FORMAT = 1
ERRORS = ("last10_error_percent", "best_error_percent", "last_error_percent")
_SEED = "train.seed"
_PACKAGES = ("numpy", "safetensors", "matplotlib", "rich", "sklearn")  # without which no run would end
_AVERAGED = (*ERRORS, "last_cross_entropy", "seconds", "images_per_second")


def compare(
    configs: Sequence[str | Path],
    *,
    seeds: int = 3,
    overrides: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int | None = None,
    on: Sequence[str] = (),
    overwrite: bool = False,
    display: Callable[..., Display] | None = None,
    figures: FigureKind = "png",
    command: str = "",
) -> dict[str, Any]:
    """Train several configurations with several seeds, and with each of several values of options.

    Finished runs are read, unfinished ones continued: the same call picks up where it was stopped. Rows and seeds of an
    earlier comparison in the same folder stay in ``results.json`` where its ``overrides`` were the same, and seeds of
    one row its configuration; otherwise the file of then is kept as ``results-1.json``.

    Args:
        configs: TOML files or names of bundled configurations.
        seeds: how many: 0 to ``seeds`` - 1, the outer loop.
        overrides: for all, such as ``train.epochs=5``.
        sweeps: ``table.key=value,value,...``, each; a method without the option runs as it is.
        out: folder of all runs, of ``results.json`` and the figure; None for ``runs/<dataset>``,
            where a folder of images goes by its own name.
        jobs: so many runs at a time, each in a process of its own; None for one after another in this process, or for
            all at once on a cluster.
        on: ``("slurm", "gpus_per_node=1", ...)`` trains on a cluster, see `Cluster`; none for this machine.
        overwrite: train everything anew.
        display: makes what shows the progress, from the arguments of `Display`; None shows nothing.
        figures: kind of file of the figures.
        command: what was typed, for the record.

    Returns:
        What ``results.json`` holds, which is not written if every run failed. Under torchrun the first process writes.

    Raises:
        InterruptedRunError: a signal asked to stop; everything is saved.
        ConfigError, ValueError, OSError: what cannot be compared or trained, before the first run.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> results = runs.compare(["digits/baseline", "digits/mixup"], seeds=1, overrides=quick)
        >>> [method["name"] for method in results["methods"]]
        ['baseline', 'mixup']
    """
    from alignmixup.figures.comparison import draw_comparison
    from alignmixup.figures.save import figures_to_draw
    from alignmixup.runs.jobs.queue import Display, Job
    from alignmixup.training.trainer import InterruptedRunError

    check_arguments(configs=configs, seeds=seeds, overrides=overrides, sweeps=sweeps, out=out, jobs=jobs, on=on)
    check_arguments(overwrite=overwrite, display=display, figures=figures, command=command)
    for package in _PACKAGES:
        require(package)  # said once, and not by every run
    _check_asked(seeds=seeds, overrides=overrides, sweeps=sweeps, jobs=jobs, on=on)
    variants = expand(map(str, configs), overrides=overrides, sweeps=[parse_sweep(text) for text in sweeps])
    _check_variants(variants)
    sets = {_images(variant.config) or variant.config.data.name for variant in variants}
    if len(sets) > 1:
        raise ConfigError(
            f"the configurations use different data sets: {', '.join(sorted(sets))}; compare one at a time"
        )
    root = Path(out) if out else data_folder(variants[0].config)
    record = root / "results.json"
    if os.path.lexists(record) and not record.is_file():
        raise ConfigError(f"{record} is no file: --out takes another folder")
    wanted = [
        Job(
            variant.label,
            replace(variant.config, train=replace(variant.config.train, seed=seed)),
            RunFolder(root / f"{variant.label}-seed{seed}", figures),
        )
        for seed in range(seeds)
        for variant in variants
    ]
    for job in () if overwrite else wanted:
        if job.folder.state != "fresh":
            job.folder.check_same(job.config)
            job.folder.check_images(job.config)
    with locked(*[record] if is_main_process() else ()):
        outcomes = _do_all(wanted, root, jobs=jobs, on=on, overwrite=overwrite, display=display or Display)
        if len(outcomes) < len(wanted) or not all(outcome.record or outcome.failure for outcome in outcomes):
            raise InterruptedRunError("interrupted; everything is saved")
        commands, variants = [command], [_as_run(variant, outcomes) for variant in variants]
        if is_main_process():
            kept, before = _earlier(root, variants, outcomes, overrides=overrides)
            known = {variant.label for variant in variants}
            variants += {one.label: one for one, _ in kept if one.label not in known}.values()
            outcomes += [outcome for _, outcome in kept]
            commands = [*(one for one in before if one != command), command]
        results = collect_results(variants, outcomes, commands=commands) | {"overrides": list(overrides)}
        if is_main_process() and results["methods"]:
            write_sealed(record, results)
            for file in figures_to_draw(root / "comparison.png", figures):
                draw_comparison(results, file)
    return results


def _images(config: Config) -> str:
    return images_of(config.data.name, config.data.root)


def _check_asked(
    *, seeds: int, overrides: Sequence[str], sweeps: Sequence[str], jobs: int | None, on: Sequence[str]
) -> None:
    """Refuse what no comparison can be asked for."""
    for name, value in (("seeds", seeds), ("jobs", 1 if jobs is None else jobs)):
        if value < 1:
            raise ConfigError(f"--{name} must be >= 1, got {value}")
    for option, texts in (("set", overrides), ("sweep", sweeps)):
        if found := [text for text in texts if text.partition("=")[0].strip() == _SEED]:
            raise ConfigError(f"--{option} {found[0]}: --seeds N says which seeds, 0 to N - 1; leave {_SEED} out")
    if (on or jobs is not None) and "WORLD_SIZE" in os.environ:
        raise ConfigError("--jobs starts processes of its own; leave torchrun or --jobs out")


def _check_variants(variants: Sequence[Variant]) -> None:
    """Refuse, before the first run, options that would be refused in one, and rows that are the same run.

    Code outside the package, which looking at would import, is left to its run.

    Raises:
        ConfigError: an option that a network or a method does not take, two rows of one configuration.
    """
    from alignmixup import methods, models

    for variant in variants:
        rooms = (("model", variant.config.model, models), ("method", variant.config.method, methods))
        for table, part, room in rooms:
            try:
                if not is_outside(part.name):
                    room.check_options(part.name, part.options)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{variant.label}: [{table}]: {error}") from None
    for one, other in itertools.combinations(variants, 2):
        if _without_seed(one.config) == _without_seed(other.config):
            raise ConfigError(f"{one.label} and {other.label} are one configuration: leave one of them out")


def _without_seed(config: Config) -> Config:
    return complete(replace(config, train=replace(config.train, seed=0)))


def _earlier(
    root: Path, variants: Sequence[Variant], outcomes: Sequence[Outcome], *, overrides: Sequence[str]
) -> tuple[list[tuple[Variant, Outcome]], list[str]]:
    """Finished runs of the comparison that ``root`` holds and that this one does not name, and the commands of then.

    They stand beside the new ones only where they were trained with the same overrides, on the same images, and seeds
    of one row with one configuration. Where others are left out the file of then is set aside, and so is one that
    cannot be read: nothing is lost.
    """
    from alignmixup.runs.jobs.queue import Job, Outcome

    file, now = root / "results.json", {outcome.job.name for outcome in outcomes}
    try:
        before = read_results(file)
        rest = [(row, Path(path).name) for row in before["methods"] for path in row["folders"]]
        rest = [(row, name) for row, name in rest if name not in now]
    except FileNotFoundError:
        return [], []
    except ValueError as error:
        _log.warning("%s; it is kept as %s", error, _set_aside(file).name)
        return [], []
    if rest and (before.get("data"), before.get("overrides")) != (variants[0].config.data.name, list(overrides)):
        _log.warning("the results of other settings that %s held are kept as %s", file, _set_aside(file).name)
        return [], []
    kept: list[tuple[Variant, Outcome]] = []
    of_label, left = {variant.label: variant.config for variant in variants}, ""
    for row, name in rest:
        folder = RunFolder(root / name)
        if folder.state != "finished":
            left = left or f"{name} is not finished any more"
            continue
        config = folder.read_config()
        if reason := _unlike(config, of_label.setdefault(row["name"], config), images=_images(variants[0].config)):
            left = left or f"{name} is a run of another configuration: {reason}"
            continue
        outcome = Outcome(Job(row["name"], config, folder), read_record(folder.record))
        kept.append((Variant(row["name"], config, row["settings"]), outcome))
    if left:
        _log.warning("%s; the results that %s held are kept as %s", left, file, _set_aside(file).name)
    if not kept:
        return [], []
    _log.info("%s keeps %d runs of an earlier comparison", file, len(kept))
    commands = before.get("commands")
    if not (isinstance(commands, list) and all(isinstance(one, str) for one in commands)):
        commands = [before.get("command", "")]
    return kept, commands


def _as_run(variant: Variant, outcomes: Sequence[Outcome]) -> Variant:
    """A row with the precision that "auto" turned out to be in the first of its runs."""
    records = (one.record for one in outcomes if one.record and one.job.label == variant.label)
    first = next(records, None)
    return replace(variant, config=variant.config.settled(first["config"]["train"]["precision"])) if first else variant


def _unlike(config: Config, row: Config, *, images: str) -> str | None:
    """In what a run is no seed of a row, whose configuration is ``row``; None where it is one."""
    if _images(config) != images:
        return f"data.root: {config.data.root!r} there, which holds other images"
    if config.train.epochs != row.train.epochs:
        return f"train.epochs: {config.train.epochs} there, {row.train.epochs} now"
    return found_difference(_without_seed(config), _without_seed(row))


def _set_aside(file: Path) -> Path:
    """Rename ``results.json`` and its figures by the first number that is free, and return its new name."""
    from alignmixup.figures.save import figure_of_each_kind

    number = next(count for count in itertools.count(1) if not _numbered(file, count).exists())
    for one in (file, *figure_of_each_kind(file.with_name("comparison.png"))):
        if one.is_file():
            one.rename(_numbered(one, number))
    return _numbered(file, number)


def _numbered(file: Path, number: int) -> Path:
    return file.with_stem(f"{file.stem}-{number}")


def _do_all(
    wanted: Sequence[Job],
    root: Path,
    *,
    jobs: int | None,
    on: Sequence[str],
    overwrite: bool,
    display: Callable[..., Display],
) -> list[Outcome]:
    """Outcomes in the order of the jobs; fewer, or one without record and failure, after an interruption."""
    from alignmixup.runs.jobs.cluster import Cluster
    from alignmixup.runs.jobs.local import slots, start_local
    from alignmixup.runs.jobs.queue import Outcome, SideBySide, run_here
    from alignmixup.runs.training import draw_missing_curves

    mode: Mode = "overwrite" if overwrite else "resume"
    done = [] if overwrite else [job for job in wanted if job.folder.is_finished(job.config)]
    waiting = [job for job in wanted if job not in done]
    outcomes = [Outcome(job, read_record(job.folder.record)) for job in done]
    for outcome in outcomes:
        if is_main_process() and outcome.record:  # it was killed before, or they are of another kind
            draw_missing_curves(outcome.record, outcome.job.folder)
    shown = display({job.name: job.config.train.epochs for job in waiting}, total=len(wanted))
    count = max(1, min(jobs or len(waiting), len(waiting)))
    try:
        if on and waiting:
            cluster = Cluster(on[0], on[1:], folder=root / "submitit", mode=mode)
            outcomes += SideBySide(cluster, shown).run(waiting, [{}] * count)
        elif jobs is not None:
            places = slots(count, cores=os.cpu_count() or 1, devices=_cuda_devices(waiting))
            outcomes += SideBySide(partial(start_local, mode=mode), shown).run(waiting, places)
        else:
            outcomes += run_here(waiting, shown, mode=mode)
    finally:
        shown.close()
    return sorted(outcomes, key=lambda outcome: wanted.index(outcome.job))


def _cuda_devices(jobs: Sequence[Job]) -> list[str]:
    """Names of the devices that the runs may use, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    if not any(job.config.train.device in ("auto", "cuda") for job in jobs):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return named[:count] if named != [""] else [str(number) for number in range(count)]


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
        "runs": [{key: record["metrics"][key] for key in _AVERAGED} for record in records.values()],
    }


def difference(method: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far a method is from the baseline, paired by seed.

    Two runs with one seed share initial weights and the order of the images, so the spread of their difference says
    more about the method than the spreads of the two do.

    Convention:
        - Method minus baseline: negative is better than the baseline.
        - Over the seeds that both have. Spread as in `summarise_runs`.
    """
    of_baseline = dict(zip(baseline["seeds"], baseline["runs"], strict=True))
    of_method = dict(zip(method["seeds"], method["runs"], strict=True))
    seeds = [seed for seed in method["seeds"] if seed in of_baseline]
    if not seeds:
        return None
    values = {key: [of_method[seed][key] - of_baseline[seed][key] for seed in seeds] for key in ERRORS}
    return {"baseline": baseline["name"], "seeds": seeds, **averaged(values)}


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
    config, candidates = to_dict(variant.config), [to_dict(one.config) for one in others]
    chosen = choose_baseline(config, candidates)
    if chosen is None and len(others) != 1:
        return None
    other = others[chosen or 0]
    found = difference(methods[variant.label], methods[other.label])
    if found is not None and chosen is None:
        found["differing"] = differing(config, candidates[0])
    return found
