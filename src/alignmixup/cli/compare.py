"""``alignmixup compare``: several methods, several seeds, one table."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.config_options import add_set
from alignmixup.cli.train import train
from alignmixup.training.config_file import ConfigError, bundled_folder, load
from alignmixup.training.run_folder import Mode, RunFolder

if TYPE_CHECKING:
    from alignmixup.training.config import Config

_METHODS = "baseline,mixup,manifold_mixup,cutmix,alignmixup"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="train several methods with several seeds and compare them",
        description="Train several configurations with several seeds, one after another. Finished runs are "
        "read, unfinished ones continued: the same command picks up where it was stopped. Ends in a table, "
        "results.json and comparison.png.",
    )
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
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="use seeds 0 to N - 1 (default: %(default)s)")
    add_set(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of all runs (default: runs/<dataset>)")
    parser.add_argument("--overwrite", action="store_true", help="train everything anew")
    return parser


def run(options: argparse.Namespace) -> int:
    """Train or read every run; print the table; write results and figure."""
    from alignmixup.figures.comparison import draw_comparison
    from alignmixup.training.comparison import build_results, summarise_runs
    from alignmixup.training.record import write_json
    from alignmixup.training.run import is_main_process

    configs = _load_configs(options)
    data = next(iter(configs.values())).data.name
    root = options.out or Path("runs") / data
    seeds = range(options.seeds)
    _check_folders(configs, root, seeds, overwrite=options.overwrite)
    records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in configs}
    for seed in seeds:
        for name, config in configs.items():
            folder = RunFolder(root / f"{name}-seed{seed}")
            mode: Mode = "overwrite" if options.overwrite else "resume"
            record = train(_with_seed(config, seed), folder, mode=mode, way_on=_same_command())
            if record is None:
                return 130
            records[name][str(folder.path)] = record
    if is_main_process():
        last = next(reversed(records[name].values()))
        methods = [summarise_runs(name, runs) for name, runs in records.items()]
        results = build_results(methods, data=data, environment=last["environment"], revision=last["revision"])
        write_json(root / "results.json", results)
        draw_comparison(results, root / "comparison.png")
        _print_table(results)
        print(f"{root / 'results.json'}, {root / 'comparison.png'}")
    return 0


def _load_configs(options: argparse.Namespace) -> dict[str, Config]:
    """Label -> configuration; the label is the file's name and names the run folders."""
    if options.seeds < 1:
        raise ConfigError(f"--seeds must be >= 1, got {options.seeds}")
    files = options.config or [f"{options.data}/{name.strip()}" for name in options.methods.split(",")]
    if not options.config and not (bundled_folder() / options.data).is_dir():
        known = sorted(folder.name for folder in bundled_folder().iterdir() if folder.is_dir())
        raise ConfigError(f"--data {options.data}: bundled configurations exist for {', '.join(known)}")
    configs: dict[str, Config] = {}
    for file in files:
        label = Path(file).stem
        if label in configs:
            raise ConfigError(f"two configurations are called {label}; their run folders would be the same")
        configs[label] = load(file, options.set)
    sets = {config.data.name for config in configs.values()}
    if len(sets) > 1:
        raise ConfigError(
            f"the configurations use different data sets: {', '.join(sorted(sets))}; compare one at a time"
        )
    return configs


def _check_folders(configs: dict[str, Config], root: Path, seeds: range, *, overwrite: bool) -> None:
    """Find out before the first run whether a later one would be refused."""
    if overwrite:
        return
    for name, config in configs.items():
        for seed in seeds:
            folder = RunFolder(root / f"{name}-seed{seed}")
            if folder.state != "fresh":
                folder.check_same(_with_seed(config, seed))


def _with_seed(config: Config, seed: int) -> Config:
    return replace(config, train=replace(config.train, seed=seed))


def _same_command() -> str:
    """The command that was given, without --overwrite, which would throw away what is done."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    return shlex.join(["alignmixup", *arguments])


def _print_table(results: dict[str, Any]) -> None:
    from alignmixup.training.comparison import mean_and_spread
    from alignmixup.training.extras import require

    table = require("rich.table").Table(title=f"{results['data']}: test error, mean ± standard deviation over seeds")
    for heading in (
        "method",
        "error % (last 10)",
        "error % (best)",
        "seconds",
        "images/s",
        "seeds",
    ):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    best = min(method["mean"]["last10_error_percent"] for method in results["methods"])
    for method in results["methods"]:
        table.add_row(
            method["name"],
            mean_and_spread(method, "last10_error_percent"),
            mean_and_spread(method, "best_error_percent"),
            f"{method['mean']['seconds']:.1f}",
            f"{method['mean']['images_per_second']:.0f}",
            str(len(method["seeds"])),
            style="bold" if method["mean"]["last10_error_percent"] == best else None,
        )
    require("rich.console").Console().print(table)
    print(f"{results['seconds']:.0f} s of training and evaluation in all")
