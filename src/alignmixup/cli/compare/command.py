"""Train several methods with several seeds and compare them.

Train several configurations with several seeds, and with each of several values of options. Finished runs are read,
unfinished ones continued: the same command picks up where it was stopped. A run that fails is reported at the end and
the others go on. Ends in a table, results.json and a figure; `alignmixup report` makes a page of them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignmixup.cli.arguments import add_options, add_set
from alignmixup.runs.options.base import FigureOptions
from alignmixup.terminal import say
from alignmixup.training.bundled import bundled_folder, bundled_names
from alignmixup.training.config_file import ConfigError, load

_PAIRS = 100  # of test images, in which alignment is measured
_DATA = "digits"
_PUBLISHED = "published"
_METHODS = "baseline,mixup,manifold_mixup,cutmix,alignmixup"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", nargs="+", metavar="FILE", help="TOML files or names of bundled configurations")
    which.add_argument(
        "--methods",
        default=_METHODS,
        metavar="NAMES",
        help="bundled configurations of --data, separated by commas (default: %(default)s)",
    )
    parser.add_argument("--data", help=f"data set of the bundled configurations (default: {_DATA})")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="published: as the papers train; fast: one short recipe for all methods; or another folder below that of "
        f"--data, such as vgg16_gap of cub (default: {_PUBLISHED})",
    )
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
    parser.add_argument(
        "--on",
        nargs="+",
        default=[],
        metavar=("ENGINE", "KEY=VALUE"),
        help="slurm: train on the nodes of a cluster, each run a job with these parameters, such as gpus_per_node=1 "
        "timeout_min=600 slurm_partition=NAME (default: this machine); local: the same on this machine, to try it out",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of all runs (default: runs/<dataset>)")
    add_options(parser, FigureOptions)
    parser.add_argument("--overwrite", action="store_true", help="train everything anew")


def run(options: argparse.Namespace) -> int:
    """Train or read every run; print the table and what failed."""
    from alignmixup import runs
    from alignmixup.cli.compare.display import default_display
    from alignmixup.cli.compare.table import print_table
    from alignmixup.runs.training import is_main_process
    from alignmixup.training.trainer import InterruptedRunError

    files = _files(options)
    # without --overwrite, which would throw away what is done
    command = shlex.join(["alignmixup", *(argument for argument in sys.argv[1:] if argument != "--overwrite")])
    try:
        results = runs.compare(
            files,
            seeds=options.seeds,
            overrides=options.set,
            sweeps=options.sweep,
            out=options.out or _default_folder(options, files),
            jobs=options.jobs,
            on=options.on,
            overwrite=options.overwrite,
            display=default_display,
            figures=options.figures,
            command=command,
        )
    except InterruptedRunError as error:
        if is_main_process():
            say(f"{error}. Continue with:\n  {command}", file=sys.stderr)
        return 130
    if is_main_process():
        if results["methods"]:
            print_table(results)
            folder = Path(results["methods"][0]["folders"][0]).parent
            if results["data"] == "digits":
                _print_alignment(results)
            say(f"{folder / 'results.json'}, {folder / 'comparison'}.{options.figures}")
            options.compared = folder
        _print_failures(results)
    return 1 if results["failures"] else 0


def _print_alignment(results: dict[str, Any]) -> None:
    """What alignment does in the network of the demo, which is small enough to look at in a moment."""
    from alignmixup import runs
    from alignmixup.runs.folder import RunFolder
    from alignmixup.runs.pictures import measure_matches

    for folder in (path for method in results["methods"] for path in method["folders"]):
        if RunFolder(Path(folder)).read_config().method.name == "alignmixup":
            found = measure_matches(runs.load(folder, overrides=["train.device=cpu"]), pairs=_PAIRS)
            closer = 100 * (1 - found["distance"] / found["distance_unaligned"])
            say(
                f"{Path(folder).name}, {found['layer']}, {found['positions']}, "
                f"{_PAIRS} pairs of test images: {100 * found['moved']:.0f} % of the transport plan "
                f"goes to another position;\n"
                f"the features it matches are {_change(closer)} each other than those at equal positions. "
                f"`alignmixup align {folder}` draws it"
            )
            return


def _change(closer: float) -> str:
    """By how many percent features are nearer, in words: without a sign, whichever way it is."""
    return f"{abs(closer):.0f} % {'nearer to' if round(closer) >= 0 else 'farther from'}"


def _files(options: argparse.Namespace) -> list[str]:
    if options.config:
        for name in ("data", "recipe"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name} {getattr(options, name)} chooses bundled configurations: leave it or --config out"
                )
        return list(options.config)
    data, recipe = options.data or _DATA, options.recipe or _PUBLISHED
    folder = bundled_folder() / data
    if not folder.is_dir():
        known = sorted({name.partition("/")[0] for name in bundled_names()})
        raise ConfigError(f"--data {data}: bundled configurations exist for {', '.join(known)}")
    if recipe == _PUBLISHED:
        place = data
    elif (folder / recipe).is_dir():
        place = f"{data}/{recipe}"
    else:
        known = sorted(folder.name for folder in folder.iterdir() if folder.is_dir())
        raise ConfigError(f"--recipe {recipe}: {data} has {', '.join([_PUBLISHED, *known])}")
    return [f"{place}/{name.strip()}" for name in options.methods.split(",")]


def _default_folder(options: argparse.Namespace, files: Sequence[str]) -> Path | None:
    """A recipe's own folder beside that of the published ones, which `compare` chooses."""
    if options.config or options.recipe in (None, _PUBLISHED):
        return None
    from alignmixup.runs.folder import data_folder

    folder = data_folder(load(files[0], options.set), options.data or _DATA)
    return folder.with_name(f"{folder.name}-{options.recipe}")


def _print_failures(results: dict[str, Any]) -> None:
    failures: Sequence[dict[str, str]] = results["failures"]
    if not failures:
        return
    total = len(failures) + sum(len(method["seeds"]) for method in results["methods"])
    say(f"{len(failures)} of {total} runs failed; the same command tries them again:", file=sys.stderr)
    together: dict[str, list[dict[str, str]]] = {}
    for failure in failures:
        together.setdefault(failure["failure"], []).append(failure)
    for reason, several in together.items():
        names = ", ".join(failure["name"] for failure in several)
        say(f"  {names}: {reason}\n    more in {several[0]['log']}", file=sys.stderr)
