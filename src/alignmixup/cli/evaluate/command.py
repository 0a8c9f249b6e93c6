"""Error, calibration, robustness and out-of-distribution detection of trained networks.

Measure trained networks on test images. RUN is a run folder; MODEL is a name as of model.name (torchvision:NAME,
timm:NAME, package.module:function...), with --data and either --checkpoint or --set model.pretrained=true. Writes
evaluation.json and figures. Several runs end in one table, with mean and spread over the seeds of a method; what a
run's evaluation.json already answers is read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignmixup.cli.arguments import add_options, add_set, add_trust, add_weights, given
from alignmixup.runs.plan import FILE, EvaluationOptions, build_plan
from alignmixup.training.config_file import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="RUN|MODEL", help="run folders, or models by name")
    add_set(parser)
    add_trust(parser)
    add_weights(parser)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="other weights: .safetensors or .pth")
    parser.add_argument("--data", metavar="NAME", help="data set of a MODEL")
    parser.add_argument("--root", metavar="DIR", help="folder of the data: --set data.root=DIR")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps: --set train.device=NAME")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help=f"folder for {FILE} and figures, or a .json file with figures beside it (default: the run folder; of "
        "several runs, the folder that holds them; of a model, here)",
    )
    parser.add_argument("--overwrite", action="store_true", help="of several runs, measure all anew")
    add_options(parser.add_argument_group("what to measure, and how"), EvaluationOptions)


def run(options: argparse.Namespace) -> int:
    """Evaluate, print the tables and where everything is."""
    from alignmixup import runs
    from alignmixup.cli.evaluate.table import print_tables
    from alignmixup.runs.evaluation import default_out, evaluate_several, figure_files

    plan = build_plan(**given(options, EvaluationOptions))
    if options.checkpoint and len(options.targets) > 1:
        raise ConfigError("--checkpoint is for one network: give one RUN or MODEL")
    names = [str(Path(target)) for target in options.targets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{twice[0]} is given twice")
    overrides = [*options.set]
    overrides += [f"data.root={options.root}"] if options.root else []
    overrides += [f"train.device={options.device}"] if options.device else []
    chosen = {name: getattr(options, name) for name in ("data", "weights", "checkpoint", "trust")}
    networks = [runs.load(target, overrides=overrides, **chosen) for target in options.targets]
    out = options.out or default_out(networks)
    out = out if out.suffix == ".json" else out / FILE

    def known(file: Path) -> None:
        print(f"{file} has it already (--overwrite measures anew)")

    results = evaluate_several(networks, plan, out=out, overwrite=options.overwrite, known=known)
    print_tables(results)
    for path in [out, *figure_files(results, out)]:
        print(path)
    return 0
