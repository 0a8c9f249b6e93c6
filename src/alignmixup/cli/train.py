"""Train a classifier.

Train a classifier. The run folder gets config.toml, checkpoint.pt, model.safetensors, record.json and curves.
Several processes: torchrun --nproc-per-node N -m alignmixup train ...
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.arguments import add_options, add_set, add_trust, list_keys
from alignmixup.cli.own_data.fit import METHOD, fit
from alignmixup.cli.parser import CommandParser
from alignmixup.records import last_ten
from alignmixup.runs.folder import Mode, RunFolder, default_folder
from alignmixup.runs.options.base import FigureOptions
from alignmixup.terminal import say
from alignmixup.training.config_file import DEFAULT, ConfigError, load
from alignmixup.training.foreign import outside_names, sending, trained_on
from alignmixup.training.processes.ranks import is_main_process

if TYPE_CHECKING:
    from alignmixup.training.config import Config


def add_arguments(parser: CommandParser) -> None:
    parser.ending = list_keys
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"TOML file, or the name of a bundled one such as digits/cutmix (default: {DEFAULT}, or with "
        "--resume and --out the run's own)",
    )
    own = parser.add_argument_group("one's own images")
    own.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of class folders, or of train/ and test/ (or val/): size, network and epochs are fitted to it",
    )
    own.add_argument(
        "--method", metavar="NAME", help=f"baseline, mixup, cutmix, manifold_mixup or {METHOD} (the default)"
    )
    own.add_argument("--model", metavar="NAME", help="timm:NAME or torchvision:NAME, pretrained (downloaded once)")
    own.add_argument("--weights", type=Path, metavar="FILE", help="start the --model from this file instead")
    own.add_argument("--freeze", action="store_true", help="train the --model's head alone")
    add_set(parser)
    add_trust(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="run folder (default: runs/<dataset>/<method>-seed<k>)")
    add_options(parser, FigureOptions)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run that the folder holds, if any")
    existing.add_argument("--overwrite", action="store_true", help="delete the run that the folder holds")


def run(options: argparse.Namespace) -> int:
    """Train and print the result; a resumed run brings its own configuration unless another is named."""
    _check_own(options)
    named = options.config or options.data
    if options.resume and options.out and not named:
        if not RunFolder(options.out).config.is_file():
            raise ConfigError(f"--resume: {options.out} holds no run; name a --config or --data to start one there")
        config = RunFolder(options.out).read_config(options.set)
        if not options.trust:
            config = trained_on(config, options.out, options.set)
    else:
        config = _own(options) if options.data else load(options.config or DEFAULT, options.set)
    folder = RunFolder(options.out or default_folder(config), options.figures)
    mode: Mode = "resume" if options.resume else "overwrite" if options.overwrite else "new"
    record = train_or_say_how(config, folder, mode=mode)
    if record is None:
        return 130
    options.trained = folder.path
    if not is_main_process():
        return 0
    metrics = record["metrics"]
    say(
        f"{folder.path}: error {metrics['last_error_percent']:.2f} % "
        f"(best {metrics['best_error_percent']:.2f} % at epoch {metrics['best_epoch'] + 1}, "
        f"mean of the last {len(last_ten(record['curve']))} {metrics['last10_error_percent']:.2f} %), "
        f"{metrics['seconds']:.1f} s, {metrics['images_per_second']:.0f} images/s"
    )
    return 0


def _check_own(options: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    alone = [name for name in ("method", "model", "weights", "freeze") if getattr(options, name)]
    if alone and not options.data:
        others = {"weights": "model.weights=FILE", "freeze": "optimizer.freeze=true"}
        key = others.get(alone[0], f"{alone[0]}.name=NAME")
        raise ConfigError(f"--{alone[0]} goes with --data DIR; elsewhere it is --set {key}")
    if options.data and options.config:
        raise ConfigError("--data has its own recipe: leave --config out, or use --set data.name=folder data.root=DIR")


def _own(options: argparse.Namespace) -> Config:
    """The configuration for one's own images; says what was found and chosen."""
    chosen = {name: getattr(options, name) for name in ("model", "weights", "freeze")}
    chosen["model"] = chosen["model"] or ""
    found = fit(options.data, method=options.method or "", overrides=options.set, **chosen)
    if is_main_process():
        say("\n".join(found.summary), file=sys.stderr)
    return found.config


def train_or_say_how(config: Config, folder: RunFolder, *, mode: Mode, way_on: str = "") -> dict[str, Any] | None:
    """Train with a live bar; when that cannot end, say with which command it continues.

    Args:
        config: the run.
        folder: where it goes.
        mode: what to do with a run that is there already.
        way_on: that command; default: ``train --resume`` of this folder.

    Returns:
        The record; None when the run was interrupted.
    """
    from alignmixup import runs
    from alignmixup.training.processes.ranks import own_errors, same_launcher
    from alignmixup.training.progress.display import default_reporter
    from alignmixup.training.trainer import InterruptedRunError

    trust = " --trust" if outside_names(config) or sending(config) else ""
    command = way_on or f"{same_launcher()} train --resume --out {shlex.quote(str(folder.path))}{trust}"
    try:
        return runs.train(config, folder, mode=mode, reporter=default_reporter(is_main=is_main_process()))
    except InterruptedRunError:
        if is_main_process():
            say(f"interrupted; everything is saved. Continue with:\n  {command}", file=sys.stderr)
        return None
    except OSError as error:
        if folder.checkpoint.is_file():
            with own_errors():
                raise OSError(f"{error}. When that is put right, continue with: {command}") from error
        raise
