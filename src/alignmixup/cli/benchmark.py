"""``alignmixup benchmark``: speed and memory on this machine, rivals side by side."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from alignmixup.benchmarks.options import QUESTIONS
from alignmixup.benchmarks.report import Report, cell


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "benchmark",
        help="speed and memory on this machine",
        description="Measure one question on this machine: all rivals take turns in one run. Prints a table with "
        "medians and ranges and writes a JSON record.",
    )
    questions = parser.add_subparsers(dest="question", metavar="QUESTION", required=True)
    for name, add_options in QUESTIONS.items():
        summary = str(add_options.__doc__)
        question = questions.add_parser(name, help=summary[:1].lower() + summary[1:].rstrip("."), description=summary)
        add_options(question)
        question.add_argument("--repeats", type=int, default=5, help="interleaved repetitions (default: 5)")
        question.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: auto")
        question.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0 leaves torch's choice")
        question.add_argument("--out", type=Path, metavar="FILE", help="JSON (default: runs/benchmarks/QUESTION.json)")
        question.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write the record."""
    import torch

    from alignmixup.files import write_json
    from alignmixup.runs.record import environment, source_revision
    from alignmixup.training.engine import choose_device

    if options.repeats < 1 or options.threads < 0:
        raise ValueError(f"--repeats must be >= 1 and --threads >= 0, got {options.repeats} and {options.threads}")
    device = choose_device(options.device)
    options.device = device.type
    if options.threads:
        torch.set_num_threads(options.threads)
    out = options.out or Path("runs", "benchmarks", f"{options.question}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    report = importlib.import_module(f"alignmixup.benchmarks.{options.question}").run(options)
    show(report)
    content = {
        "question": report.question,
        "settings": report.settings,
        "rows": report.rows,
        "notes": report.notes,
        "environment": environment(device),
        "revision": source_revision(),
    }
    write_json(out, content)
    print(out)
    return 0


def show(report: Report) -> None:
    """Print a report as a table."""
    from alignmixup.outside import require

    table = require("rich.table").Table(title=report.question)
    for key, value in report.rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right")
    groups = [next(iter(row.values())) for row in report.rows]
    grouped = len(set(groups)) < len(groups)
    for number, row in enumerate(report.rows):
        if grouped and number and groups[number] != groups[number - 1]:
            table.add_section()
        table.add_row(*(cell(value) for value in row.values()))
    # written to a file, a table is as wide as it needs to be
    console = require("rich.console").Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in report.notes:
        console.print(note)
