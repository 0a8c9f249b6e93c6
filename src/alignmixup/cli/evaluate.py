"""``alignmixup evaluate``: test error of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alignmixup.cli.config_options import add_set
from alignmixup.training.config_file import FREE_KEYS, ConfigError, load
from alignmixup.training.run_folder import RunFolder

_KEYS = (*FREE_KEYS, "train.precision", "train.channels_last")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="test error of a finished run",
        description="Load a run's model.safetensors, measure top-1 error, top-5 error and cross-entropy on "
        "the test images of its configuration; write evaluation.json into the run folder.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder")
    add_set(parser)
    parser.add_argument(
        "--weights", choices=("model", "raw"), default="model", help="raw: before averaging (ema_decay)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file (default: RUN/evaluation.json)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Evaluate, print the table, write the JSON file."""
    from alignmixup.training.extras import require
    from alignmixup.training.record import write_json

    folder = RunFolder(options.folder)
    if not folder.config.is_file():
        raise ConfigError(f"{folder.path} is no run folder: it has no config.toml")
    for text in options.set:
        key = text.partition("=")[0].strip()
        if key not in _KEYS:
            raise ConfigError(f"--set {text}: an evaluation can change {', '.join(_KEYS)} alone")
    result = evaluate(folder, overrides=options.set, weights=options.weights)
    out = options.out or folder.path / "evaluation.json"
    write_json(out, result)
    table = require("rich.table").Table(title=f"{folder.path}, {result['images']} test images")
    for heading in ("top-1 error (%)", "top-5 error (%)", "cross-entropy"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{result['error_percent']:.2f}",
        f"{result['top5_error_percent']:.2f}",
        f"{result['cross_entropy']:.4f}",
    )
    require("rich.console").Console().print(table)
    print(out)
    return 0


def evaluate(folder: RunFolder, *, overrides: list[str], weights: str) -> dict[str, Any]:
    """Errors of the run's weights as a dictionary."""
    from contextlib import closing
    from dataclasses import asdict

    from alignmixup.evaluation.error import evaluate_error
    from alignmixup.training.build import build_loaders, build_model, load_data, load_model_weights
    from alignmixup.training.engine import Engine
    from alignmixup.training.record import environment

    config = load(folder.config, overrides)
    file = folder.weights if weights == "model" else folder.raw_weights
    with closing(Engine(config.train)) as engine:
        dataset = load_data(config)
        model = build_model(config, dataset)
        load_model_weights(file, model)
        loader = build_loaders(config, dataset, engine)[1]
        result = evaluate_error(
            engine.place(model), loader, autocast=engine.autocast, sum_over_ranks=engine.sum_over_ranks
        )
        return {
            "run": str(folder.path),
            "weights": file.name,
            **asdict(result),
            "environment": environment(engine.device),
        }
