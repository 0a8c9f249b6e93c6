"""Several methods over several seeds, trained or read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.files import locked
from alignmixup.outside import is_outside, require
from alignmixup.records import read_record, write_sealed
from alignmixup.runs.comparison.earlier import earlier_runs, images_of_set
from alignmixup.runs.comparison.results import collect_results
from alignmixup.runs.folder import Mode, RunFolder, data_folder
from alignmixup.runs.options.base import check_arguments
from alignmixup.runs.stored.settings import files_of
from alignmixup.runs.sweep import Variant, expand, parse_sweep
from alignmixup.training.config_file import ConfigError
from alignmixup.training.meaning import same
from alignmixup.training.processes.ranks import is_main_process

if TYPE_CHECKING:
    from alignmixup.figures.save import FigureKind
    from alignmixup.runs.jobs.queue import Display, Job, Outcome

_SEED = "train.seed"
_PACKAGES = ("numpy", "safetensors", "matplotlib", "rich", "sklearn")  # without which no run would end


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
    sets = {images_of_set(variant.config) for variant in variants}
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
    recorded = {} if overwrite else {job.config.data: job.config for job in wanted if job.folder.image_files}
    now = {data: files_of(config) for data, config in recorded.items()}
    for job in wanted if now else ():
        job.folder.check_files(now.get(job.config.data, {}))
    with locked(*[record] if is_main_process() else ()):
        outcomes = _do_all(wanted, root, jobs=jobs, on=on, overwrite=overwrite, display=display or Display)
        if len(outcomes) < len(wanted) or not all(outcome.record or outcome.failure for outcome in outcomes):
            raise InterruptedRunError("interrupted; everything is saved")
        commands, variants = [command], [_as_run(variant, outcomes) for variant in variants]
        if is_main_process():
            kept, before = earlier_runs(root, variants, outcomes, overrides=overrides)
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


def _as_run(variant: Variant, outcomes: Sequence[Outcome]) -> Variant:
    """A row with the precision that "auto" turned out to be in the first of its runs."""
    records = (one.record for one in outcomes if one.record and one.job.label == variant.label)
    first = next(records, None)
    return replace(variant, config=variant.config.settled(first["config"]["train"]["precision"])) if first else variant


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
        if same(one.config, other.config, but=[_SEED]):
            raise ConfigError(f"{one.label} and {other.label} are one configuration: leave one of them out")


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
