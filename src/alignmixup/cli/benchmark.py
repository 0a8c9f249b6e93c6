"""Speed and memory on this machine.

Measure one question on this machine: all rivals take turns in one run. Prints a table with medians and ranges and
writes a JSON record.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from alignmixup.benchmarks.options import QUESTIONS
from alignmixup.benchmarks.report import Report, cell
from alignmixup.cli.arguments import add_device, lower_first
from alignmixup.cli.table import new_table, show
from alignmixup.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    questions = parser.add_subparsers(dest="question", metavar="QUESTION", required=True)
    for name, add_question in QUESTIONS.items():
        summary = str(add_question.__doc__)
        question = questions.add_parser(name, help=lower_first(summary), description=summary)
        add_question(question)
        question.add_argument("--repeats", type=int, default=5, help="interleaved repetitions (default: 5)")
        add_device(question)
        question.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0 leaves torch's choice")
        question.add_argument("--out", type=Path, metavar="FILE", help="JSON (default: runs/benchmarks/QUESTION.json)")
        question.add_argument("--traceback", action="store_true", help="show where an error comes from")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write the record."""
    import torch

    from alignmixup.files import locked, write_json
    from alignmixup.runs.folder import RunFolder
    from alignmixup.runs.record import environment, source_revision
    from alignmixup.training.engine import choose_device, usable_threads

    if options.repeats < 1 or options.threads < 0:
        raise ValueError(f"--repeats must be >= 1 and --threads >= 0, got {options.repeats} and {options.threads}")
    device = choose_device(options.device)
    options.device = device.type
    if options.threads:
        torch.set_num_threads(usable_threads("--threads", options.threads))
    out = options.out or Path("runs", "benchmarks", f"{options.question}.json")
    RunFolder(out.parent).check_output(out)
    with locked(out):  # where it cannot be written is said before anything is measured
        report = importlib.import_module(f"alignmixup.benchmarks.{options.question}").run(options)
        print_report(report)
        content = {
            "question": report.question,
            "settings": report.settings,
            "rows": report.rows,
            "notes": report.notes,
            "environment": environment(device),
            "revision": source_revision(),
        }
        write_json(out, content)
    say(out)
    return 0


def print_report(report: Report) -> None:
    """Print a report as a table, with a line between groups of rows that begin alike."""
    left = [key for key, value in report.rows[0].items() if isinstance(value, str)]
    table = new_table(*report.rows[0], left=left, title=report.question)
    groups = [next(iter(row.values())) for row in report.rows]
    grouped = len(set(groups)) < len(groups)
    for number, row in enumerate(report.rows):
        if grouped and number and groups[number] != groups[number - 1]:
            table.add_section()
        table.add_row(*(cell(value) for value in row.values()))
    show(table, *report.notes)
