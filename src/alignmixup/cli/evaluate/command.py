"""Error, calibration, robustness and out-of-distribution detection of trained networks.

Measure trained networks on test images. RUN is a run folder; MODEL is a name as of model.name (torchvision:NAME,
timm:NAME, package.module:function...), with --data and either --checkpoint or --set model.pretrained=true. Writes
evaluation.json and figures. Several runs end in one table, with mean and spread over the seeds of a method; what a
run's evaluation.json already answers is read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignmixup.cli.arguments import add_networks, add_options, given, load_networks
from alignmixup.records import EVALUATION_FILE
from alignmixup.runs.options.evaluation import EvaluationOptions, build_plan
from alignmixup.terminal import say
from alignmixup.training.config_file import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser, nargs="+")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help=f"folder for {EVALUATION_FILE} and figures, or a .json file with figures beside it (default: the run "
        "folder; of several runs, the folder that holds them; of a model, here)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="measure anew, and replace what the file says of another network or question, or if it is damaged",
    )
    add_options(parser.add_argument_group("what to measure, and how"), EvaluationOptions)


def run(options: argparse.Namespace) -> int:
    """Evaluate, print the tables and where everything is."""
    from alignmixup.cli.evaluate.table import print_tables
    from alignmixup.runs.evaluation import default_out, evaluate_several, figure_files

    plan = build_plan(**given(options, EvaluationOptions))
    networks = load_networks(options, options.target)
    out = options.out or default_out(networks)
    if out.is_file() and out.suffix != ".json":
        raise ConfigError(f"--out {out} is there and holds no evaluation: give a .json file or a folder")
    out = out if out.suffix == ".json" else out / EVALUATION_FILE

    def known(file: Path) -> None:
        say(f"{file} has it already (--overwrite measures anew)")

    results = evaluate_several(networks, plan, out=out, overwrite=options.overwrite, known=known)
    print_tables(results)
    for path in [out, *figure_files(results, out)]:
        say(str(path))
    return 0
