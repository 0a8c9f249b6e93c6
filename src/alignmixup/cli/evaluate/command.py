"""``alignmixup evaluate``: everything that is measured about trained networks, in one command."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from alignmixup.cli.config_options import add_set, add_trust
from alignmixup.runs.plan import DEFAULT_OOD, DEFAULT_PARTS, FILE, PARTS
from alignmixup.training.config_file import ConfigError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="error, calibration, robustness and out-of-distribution detection of trained networks",
        description="Measure trained networks on test images. RUN is a run folder; MODEL is a name as of model.name "
        "(torchvision:NAME, timm:NAME, package.module:function...), with --data and either --checkpoint or --set "
        "model.pretrained=true. Writes evaluation.json and figures. Several runs end in one table, with mean and "
        "spread over the seeds of a method; "
        "what a run's evaluation.json already answers is read.",
    )
    parser.add_argument("targets", nargs="+", metavar="RUN|MODEL", help="run folders, or models by name")
    add_set(parser)
    add_trust(parser)
    parser.add_argument(
        "--weights", choices=("model", "raw"), default="model", help="raw: before averaging (ema_decay)"
    )
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
    _add_what(parser.add_argument_group("what to measure"))
    _add_how(parser.add_argument_group("how"))
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--what",
        default=",".join(DEFAULT_PARTS),
        metavar="PARTS",
        help=f"{', '.join(PARTS)} or all, separated by commas (default: %(default)s); --attack, --ood and "
        "--corruptions add their part by themselves",
    )
    group.add_argument(
        "--attack",
        action="append",
        metavar="ATTACK",
        help="fgsm, pgd, or with options, such as pgd:epsilon=8/255,step=2/255,iterations=50,restarts=5; may be "
        "repeated (default: fgsm and pgd)",
    )
    group.add_argument(
        "--checks",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check whether the first attack of several iterations can be believed (default: yes)",
    )
    group.add_argument(
        "--check-images", type=int, default=200, metavar="N", help="images of these checks (default: %(default)s)"
    )
    group.add_argument(
        "--ood",
        default="",
        metavar="SETS",
        help="out-of-distribution sets, separated by commas: uniform, gaussian, digits, cifar10, cifar100, "
        f"tiny-imagenet-crop, tiny-imagenet-resize, folder:DIR (default: {','.join(DEFAULT_OOD)})",
    )
    group.add_argument(
        "--corruptions",
        default="",
        metavar="KINDS",
        help="separated by commas; all adds the extra four (default: CIFAR-C's 15)",
    )
    group.add_argument(
        "--severities", default="1,2,3,4,5", metavar="LIST", help="of corruptions (default: %(default)s)"
    )
    group.add_argument(
        "--corruption-folder", type=Path, metavar="DIR", help="released corrupted images to read, not generate"
    )
    group.add_argument(
        "--baseline",
        type=Path,
        metavar="RUN",
        help=f"run whose errors the mCE divides by: one of those given, or one with an {FILE}",
    )


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help="test images for attacks, ood and corruptions, each class in proportion (default: all)",
    )
    group.add_argument(
        "--bins", type=int, default=15, metavar="M", help="bins of calibration errors (default: %(default)s)"
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="K", help="of noise and of the choice of images (default: %(default)s)"
    )
    group.add_argument(
        "--batch-size", default="auto", metavar="N", help="images at a time (default: auto, halved until they fit)"
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate, print the tables and where everything is."""
    from alignmixup import runs
    from alignmixup.cli.evaluate.table import print_tables
    from alignmixup.runs.evaluation import default_out, evaluate_several, figure_files
    from alignmixup.runs.plan import build_plan

    plan = build_plan(**{name: getattr(options, name) for name in inspect.signature(build_plan).parameters})
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
    results = evaluate_several(
        networks,
        plan,
        out=out,
        overwrite=options.overwrite,
        known=lambda file: print(f"{file} has it already (--overwrite measures anew)"),
    )
    print_tables(results)
    for path in [out, *figure_files(results, out)]:
        print(path)
    return 0
