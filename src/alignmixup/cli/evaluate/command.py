"""``alignmixup evaluate``: everything that is measured about trained networks, in one command."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.config_options import add_set
from alignmixup.cli.evaluate.options import add_parts, build_plan
from alignmixup.runs.evaluation_plan import FORMAT, Plan, settings_of
from alignmixup.runs.network import Subject, find_subject
from alignmixup.training.config_file import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = "evaluation.json"


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
        help=f"folder for {_FILE} and figures, or a .json file with figures beside it (default: the run folder; of "
        "several runs, the folder that holds them; of a model, here)",
    )
    parser.add_argument("--overwrite", action="store_true", help="of several runs, measure all anew")
    add_parts(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Evaluate, print the tables, write JSON files and figures."""
    from alignmixup.runs.record import write_json

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("an evaluation runs in one process: start it without torchrun")
    plan = build_plan(options)
    subjects = _subjects(options)
    out = _out(options.out, subjects)
    _check_baseline(options.baseline, subjects)
    several = len(subjects) > 1
    out.parent.mkdir(parents=True, exist_ok=True)
    files = [_file_of(subject, out) for subject in subjects] if several else [out]
    results = []
    for subject, file in zip(subjects, files, strict=True):
        result = _stored(subject, plan, file) if several and not options.overwrite else None
        results.append(result or _measured(subject, plan, file))
    if "corruptions" in plan.parts and options.baseline:
        _add_mce(results, options.baseline)
        for result, file in zip(results, files, strict=True):
            write_json(file, result)
    _show(results, out)
    return 0


def _subjects(options: argparse.Namespace) -> list[Subject]:
    overrides = list(options.set)
    overrides += [f"data.root={options.root}"] if options.root else []
    overrides += [f"train.device={options.device}"] if options.device else []
    if options.checkpoint and len(options.targets) > 1:
        raise ConfigError("--checkpoint is for one network: give one RUN or MODEL")
    names = [str(Path(target)) for target in options.targets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{twice[0]} is given twice")
    return [
        find_subject(
            target,
            data=options.data,
            overrides=overrides,
            weights=options.weights,
            checkpoint=options.checkpoint,
        )
        for target in options.targets
    ]


def _out(path: Path | None, subjects: Sequence[Subject]) -> Path:
    """The JSON file that the command ends in."""
    if path is not None:
        return path if path.suffix == ".json" else path / _FILE
    if len(subjects) == 1:
        return (subjects[0].folder or Path()) / _FILE
    parents = {subject.folder.resolve().parent for subject in subjects if subject.folder}
    if len(parents) != 1 or None in [subject.folder for subject in subjects]:
        raise ConfigError("the runs lie in several folders: say with --out where their table goes")
    return next(subject.folder.parent for subject in subjects if subject.folder) / _FILE


def _file_of(subject: Subject, out: Path) -> Path:
    """Where one of several results goes."""
    if subject.folder:
        return subject.folder / _FILE
    return out.with_name(f"{out.stem}-{subject.name.replace(':', '-')}.json")


def _stored(subject: Subject, plan: Plan, file: Path) -> dict[str, Any] | None:
    """A result that answers the same question about the same weights, if there is one."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if found.get("format") != FORMAT or found.get("settings") != settings_of(subject, plan):
        return None
    print(f"{file} has it already (--overwrite measures anew)")
    return found | {"run": subject.name}  # it may have been measured from another working directory


def _measured(subject: Subject, plan: Plan, file: Path) -> dict[str, Any]:
    from alignmixup.runs.evaluate import measure
    from alignmixup.runs.record import write_json

    result = measure(subject, plan, ood_figure=file.with_name(f"{file.stem}-ood.png"))
    write_json(file, result)
    return result


def _check_baseline(baseline: Path | None, subjects: Sequence[Subject]) -> None:
    """Find out before hours of measuring whether there is a baseline to compare with."""
    if baseline is None or baseline in [subject.folder for subject in subjects]:
        return
    _read_baseline(baseline)


def _read_baseline(baseline: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((baseline / _FILE).read_text(encoding="utf-8"))["corruptions"]
    except (OSError, ValueError, KeyError):
        raise ConfigError(
            f"--baseline {baseline}: no errors under corruptions in {baseline / _FILE}; evaluate it first with the "
            "same --corruptions, or give it as one of the runs"
        ) from None
    return found


def _add_mce(results: Sequence[dict[str, Any]], baseline: Path) -> None:
    from alignmixup.evaluation.corruptions.mean_error import mean_corruption_error

    reference = next((result["corruptions"] for result in results if Path(result["run"]) == baseline), None)
    reference = reference or _read_baseline(baseline)
    for result in results:
        mce = mean_corruption_error(result["corruptions"], reference)
        result["corruptions"]["mce"] = {"baseline": str(baseline), **mce}


def _show(results: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Tables, the summary of several runs, figures."""
    from alignmixup.cli.evaluate.figures import draw_figures
    from alignmixup.cli.evaluate.table import print_checks, print_methods, print_runs
    from alignmixup.evaluation.summary import summarise_evaluations
    from alignmixup.runs.record import write_json

    summaries = summarise_evaluations(results)
    if len(results) > 1:
        print_runs(results)
        runs = [{"run": result["run"], "method": result["method"], "seed": result["seed"]} for result in results]
        write_json(out, {"format": FORMAT, "methods": summaries, "runs": runs, "settings": results[0]["settings"]})
    print_methods(summaries, results)
    print_checks(results)
    for path in [out, *draw_figures(results, out)]:
        print(path)
