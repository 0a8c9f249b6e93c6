"""Options that the commands share which draw a run's network at work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.config_options import add_trust

if TYPE_CHECKING:
    from alignmixup.runs import Run


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run and where its data are."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder of a trained network")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data, if not that of the run")
    add_trust(parser)


def add_pair_options(parser: argparse.ArgumentParser, *, pairs: int) -> None:
    """Add what both pictures of pairs take."""
    add_run(parser)
    parser.add_argument(
        "--pairs", type=int, default=pairs, metavar="N", help="pairs of test images (default: %(default)s)"
    )
    parser.add_argument(
        "--classes", choices=("same", "different", "any"), default="different", help="(default: different)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which pairs (default: 0)")
    parser.add_argument(
        "--epsilon", type=float, metavar="E", help="regularisation of the plan (default: the run's, or 0.1)"
    )
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="cap on the solver's rounds (default: the run's, or 100)"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: auto)")


def pair_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, as the functions of `runs.pictures` take it."""
    return {name: getattr(options, name) for name in ("classes", "seed", "epsilon", "iterations")}


def load_run(options: argparse.Namespace, *, device: str) -> Run:
    """The run that was named."""
    from alignmixup import runs

    root = [f"data.root={options.data_root}"] if options.data_root else []
    return runs.load(options.folder, overrides=[*root, f"train.device={device}"], trust=options.trust)
