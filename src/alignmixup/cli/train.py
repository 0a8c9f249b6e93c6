"""Train a classifier.

Train a classifier. The run folder gets config.toml, checkpoint.pt, model.safetensors, record.json and curves.png.
Several processes: torchrun --nproc-per-node N -m alignmixup train ...
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.arguments import add_set, add_trust, list_keys
from alignmixup.cli.parser import CommandParser
from alignmixup.outside import is_outside
from alignmixup.runs.folder import Mode, RunFolder, default_folder
from alignmixup.runs.run import refuse_outside
from alignmixup.training.config_file import DEFAULT, load

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
    add_set(parser)
    add_trust(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="run folder (default: runs/<dataset>/<method>-seed<k>)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run that the folder holds, if any")
    existing.add_argument("--overwrite", action="store_true", help="delete the run that the folder holds")


def run(options: argparse.Namespace) -> int:
    """Train and print the result; a resumed run brings its own configuration unless another is named."""
    if options.resume and options.out and not options.config and RunFolder(options.out).config.is_file():
        config = RunFolder(options.out).read_config(options.set)
        if not options.trust:
            refuse_outside(config, f"the run {options.out}")
    else:
        config = load(options.config or DEFAULT, options.set)
    folder = RunFolder(options.out or default_folder(config))
    mode: Mode = "resume" if options.resume else "overwrite" if options.overwrite else "new"
    record = train_or_say_how(config, folder, mode=mode)
    if record is None:
        return 130
    metrics = record["metrics"]
    print(
        f"{folder.path}: error {metrics['last_error_percent']:.2f} % "
        f"(best {metrics['best_error_percent']:.2f} % at epoch {metrics['best_epoch'] + 1}, "
        f"mean of the last 10 {metrics['last10_error_percent']:.2f} %), "
        f"{metrics['seconds']:.1f} s, {metrics['images_per_second']:.0f} images/s"
    )
    return 0


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
    from alignmixup.training.progress.display import default_reporter
    from alignmixup.training.ranks import is_main_process
    from alignmixup.training.trainer import InterruptedRunError

    trust = " --trust" if any(map(is_outside, (config.model.name, config.method.name))) else ""
    command = way_on or f"alignmixup train --resume --out {shlex.quote(str(folder.path))}{trust}"
    try:
        return runs.train(config, folder, mode=mode, reporter=default_reporter(is_main=is_main_process()))
    except InterruptedRunError:
        if is_main_process():
            print(f"interrupted; everything is saved. Continue with:\n  {command}", file=sys.stderr)
        return None
    except OSError as error:
        if folder.checkpoint.is_file():
            raise OSError(f"{error}. When that is put right, continue with: {command}") from error
        raise
