"""``alignmixup compare``: several methods, several seeds, one table."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.config_options import add_set
from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.runs.sweep import Variant, expand, parse_sweep
from alignmixup.training.config_file import ConfigError, bundled_folder, bundled_names

if TYPE_CHECKING:
    from alignmixup.cli.compare.board import Board
    from alignmixup.runs.scheduler import Job, Outcome
    from alignmixup.training.config import Config

_PUBLISHED = "published"
_METHODS = "baseline,mixup,manifold_mixup,cutmix,alignmixup"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="train several methods with several seeds and compare them",
        description="Train several configurations with several seeds, and with each of several values of options. "
        "Finished runs are read, unfinished ones continued: the same command picks up where it was stopped. A run "
        "that fails is reported at the end and the others go on. Ends in a table, results.json and comparison.png; "
        "`alignmixup report` makes a page of them.",
    )
    _add_choice(parser)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="use seeds 0 to N - 1 (default: %(default)s)")
    add_set(parser)
    parser.add_argument(
        "--sweep",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="run every method that has the option with each value, such as method.epsilon=0.05,0.1,1; several make "
        "all combinations",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="N runs at a time, each in a process of its own, on the CUDA devices in turn (default: one after another "
        "in this process)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of all runs (default: runs/<dataset>)")
    parser.add_argument("--overwrite", action="store_true", help="train everything anew")
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Which configurations."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", nargs="+", metavar="FILE", help="TOML files or names of bundled configurations")
    which.add_argument(
        "--methods",
        default=_METHODS,
        metavar="NAMES",
        help="bundled configurations of --data, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--data", default="digits", help="data set of the bundled configurations (default: %(default)s)"
    )
    parser.add_argument(
        "--recipe",
        default=_PUBLISHED,
        metavar="NAME",
        help="published: as the papers train; fast: one short recipe for all methods; or another folder below that of "
        "--data, such as vgg16_gap of cub (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Train or read every run; print the table; write results and figure."""
    from alignmixup.runs.scheduler import Job
    from alignmixup.runs.train import is_main_process

    variants = _load_variants(options)
    root = options.out or _default_root(options, variants[0].config.data.name)
    jobs = [
        Job(variant.label, _with_seed(variant.config, seed), RunFolder(root / f"{variant.label}-seed{seed}"))
        for seed in range(options.seeds)
        for variant in variants
    ]
    if not options.overwrite:
        _check_folders(jobs)
    outcomes = _do_all(jobs, options)
    if len(outcomes) < len(jobs) or not all(outcome.record or outcome.failure for outcome in outcomes):
        if is_main_process():
            way_on = f"interrupted; everything is saved. Continue with:\n  {_same_command()}"
            print(way_on, file=sys.stderr)
        return 130
    failed = [outcome for outcome in outcomes if outcome.failure]
    if is_main_process():
        if len(failed) < len(outcomes):
            _conclude(variants, outcomes, root)
        _print_failures(failed, total=len(outcomes))
    return 1 if failed else 0


def _default_root(options: argparse.Namespace, data: str) -> Path:
    own = not options.config and options.recipe != _PUBLISHED
    return Path("runs") / (f"{data}-{options.recipe}" if own else data)


def _load_variants(options: argparse.Namespace) -> list[Variant]:
    """The rows of the table."""
    if options.seeds < 1:
        raise ConfigError(f"--seeds must be >= 1, got {options.seeds}")
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs must be >= 1, got {options.jobs}")
    if options.jobs is not None and "WORLD_SIZE" in os.environ:
        raise ConfigError("--jobs starts processes of its own; leave torchrun or --jobs out")
    variants = expand(_files(options), overrides=options.set, sweeps=[parse_sweep(text) for text in options.sweep])
    sets = {variant.config.data.name for variant in variants}
    if len(sets) > 1:
        raise ConfigError(
            f"the configurations use different data sets: {', '.join(sorted(sets))}; compare one at a time"
        )
    return variants


def _files(options: argparse.Namespace) -> list[str]:
    if options.config:
        return list(options.config)
    folder = bundled_folder() / options.data
    if not folder.is_dir():
        known = sorted({name.partition("/")[0] for name in bundled_names()})
        raise ConfigError(f"--data {options.data}: bundled configurations exist for {', '.join(known)}")
    if options.recipe == _PUBLISHED:
        place = options.data
    elif (folder / options.recipe).is_dir():
        place = f"{options.data}/{options.recipe}"
    else:
        known = sorted(folder.name for folder in folder.iterdir() if folder.is_dir())
        raise ConfigError(f"--recipe {options.recipe}: {options.data} has {', '.join([_PUBLISHED, *known])}")
    return [f"{place}/{name.strip()}" for name in options.methods.split(",")]


def _check_folders(jobs: Iterable[Job]) -> None:
    """Find out before the first run whether a later one would be refused."""
    for job in jobs:
        if job.folder.state != "fresh":
            job.folder.check_same(job.config)


def _do_all(jobs: Sequence[Job], options: argparse.Namespace) -> list[Outcome]:
    """Outcomes in the order of the jobs; fewer, or one without record and failure, after an interruption."""
    from alignmixup.cli.compare.board import open_board
    from alignmixup.runs.record import read_record
    from alignmixup.runs.scheduler import Outcome

    mode: Mode = "overwrite" if options.overwrite else "resume"
    done = {} if options.overwrite else {job.name: job for job in jobs if _is_done(job)}
    waiting = [job for job in jobs if job.name not in done]
    outcomes = {name: Outcome(job, record=read_record(job.folder.record)) for name, job in done.items()}
    board = open_board({job.name: job.config.train.epochs for job in waiting}, total=len(jobs))
    try:
        if options.jobs is None:
            ended = _one_after_another(waiting, board, mode=mode)
        else:
            ended = _side_by_side(waiting, board, mode=mode, count=options.jobs)
    finally:
        board.close()
    outcomes |= {outcome.job.name: outcome for outcome in ended}
    return [outcomes[job.name] for job in jobs if job.name in outcomes]


def _is_done(job: Job) -> bool:
    from alignmixup.training.config_file import load

    return job.folder.state == "finished" and load(job.folder.config).train.epochs == job.config.train.epochs


def _one_after_another(jobs: Sequence[Job], board: Board, *, mode: Mode) -> list[Outcome]:
    """In this process, which saves the time that a new one takes to start."""
    from alignmixup.figures.curves import draw_curves
    from alignmixup.runs.scheduler import Outcome
    from alignmixup.runs.train import is_main_process, run
    from alignmixup.training.progress import SilentReporter
    from alignmixup.training.trainer import InterruptedRunError

    outcomes: list[Outcome] = []
    for job in jobs:
        reporter = board.reporter(job.name) if is_main_process() else SilentReporter()
        try:
            record = run(job.config, job.folder, mode=mode, reporter=reporter)
            if is_main_process() and not job.folder.curves_are_current:
                draw_curves(record, job.folder.curves)
            job.log.unlink(missing_ok=True)
            outcomes.append(Outcome(job, record=record))
        except InterruptedRunError:
            return outcomes
        except Exception as error:
            if "WORLD_SIZE" in os.environ:  # the other processes may wait for this one
                raise
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text(traceback.format_exc(), encoding="utf-8")
            outcomes.append(Outcome(job, failure=f"{type(error).__name__}: {error}"))
        if is_main_process():
            board.ended(job.name, _in_words(outcomes[-1]))
    return outcomes


def _side_by_side(jobs: Sequence[Job], board: Board, *, mode: Mode, count: int) -> list[Outcome]:
    """Each in a process of its own."""
    from alignmixup.runs.record import read_record
    from alignmixup.runs.scheduler import Scheduler, slots

    count = max(1, min(count, len(jobs)))
    scheduler = Scheduler(
        jobs,
        places=slots(count, cores=os.cpu_count() or 1, devices=_cuda_devices(jobs)),
        command=lambda job: [sys.executable, "-m", "alignmixup.runs.child", str(job.folder.path), mode],
        finish=lambda job: read_record(job.folder.record),
        reporter=lambda job: board.reporter(job.name),
        ended=lambda outcome: board.ended(outcome.job.name, _in_words(outcome)),
    )
    return scheduler.run()


def _cuda_devices(jobs: Sequence[Job]) -> list[str]:
    """Names of the devices that the runs may use, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    if not any(job.config.train.device in ("auto", "cuda") for job in jobs):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return named[:count] if named != [""] else [str(number) for number in range(count)]


def _in_words(outcome: Outcome) -> str:
    if outcome.record is None:
        return f"failed: {outcome.failure}" if outcome.failure else "stopped and saved"
    metrics = outcome.record["metrics"]
    return f"error {metrics['last_error_percent']:.2f} %, {metrics['seconds']:.1f} s"


def _conclude(variants: Sequence[Variant], outcomes: Sequence[Outcome], root: Path) -> None:
    """Write results and figure, print the table."""
    from alignmixup.cli.compare.table import print_table
    from alignmixup.figures.comparison import draw_comparison
    from alignmixup.runs.comparison import collect_results
    from alignmixup.runs.record import write_json

    results = collect_results(variants, outcomes, command=_same_command())
    write_json(root / "results.json", results)
    draw_comparison(results, root / "comparison.png")
    print_table(results)
    print(f"{root / 'results.json'}, {root / 'comparison.png'}")


def _print_failures(failed: Sequence[Outcome], *, total: int) -> None:
    if not failed:
        return
    print(f"{len(failed)} of {total} runs failed; the same command tries them again:", file=sys.stderr)
    together: dict[str, list[Outcome]] = {}
    for outcome in failed:
        together.setdefault(outcome.failure, []).append(outcome)
    for failure, outcomes in together.items():
        names = ", ".join(outcome.job.name for outcome in outcomes)
        print(f"  {names}: {failure}\n    more in {outcomes[0].job.log}", file=sys.stderr)


def _with_seed(config: Config, seed: int) -> Config:
    return replace(config, train=replace(config.train, seed=seed))


def _same_command() -> str:
    """The command that was given, without --overwrite, which would throw away what is done."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    return shlex.join(["alignmixup", *arguments])
