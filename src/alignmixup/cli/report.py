"""One HTML page of finished runs: table, charts, pictures, configurations.

Read the records of finished runs and write one HTML page that needs nothing else: the table with the paper's numbers,
training curves, cost against error, what `evaluate` measured, pictures that other commands drew in the run folders,
every configuration and the commands that make it again. Trains nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, folders above them, or stored records"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="(default: report.html; --markdown: the screen)")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--markdown", action="store_true", help="write the table alone, for documentation")
    parser.add_argument(
        "--columns", metavar="NAMES", help="columns of the markdown table, separated by commas, such as method,last10"
    )
    parser.add_argument(
        "--records", type=Path, metavar="DIR", help="also store a compact copy of each record in DIR/records"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page or the table."""
    from alignmixup.files import write_text
    from alignmixup.report.collect import find_runs, find_shared, write_compact
    from alignmixup.runs.folder import RunFolder
    from alignmixup.training.config_file import ConfigError

    if options.columns and not options.markdown:
        raise ConfigError("--columns chooses the columns of --markdown; the page has them all")
    out = options.out or Path("report.html")
    RunFolder(out.parent).check_output(out)
    runs = find_runs(options.runs)
    if options.records:
        for one in runs:
            write_compact(one, options.records / "records")
        print(f"{options.records / 'records'}: {len(runs)} records")
    if options.markdown:
        text = _tables(runs, options.columns)
        if options.out is None:
            print(text, end="")
            return 0
    else:
        from alignmixup.report.page import build_page

        shared = find_shared(options.runs)
        text = build_page(runs, shared=shared, title=options.title, commands=_commands(options.runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    print(out)
    return 0


def _tables(runs: Iterable[Any], columns: str | None) -> str:
    """One table a data set."""
    from alignmixup.report.markdown import markdown_table
    from alignmixup.report.names import spell_data
    from alignmixup.report.rows import build_rows
    from alignmixup.report.tables import tabulate

    sets: dict[str, list[Any]] = {}
    for one in runs:
        sets.setdefault(one.data, []).append(one)
    chosen = [name.strip() for name in columns.split(",")] if columns else None
    tables = {data: markdown_table(tabulate(build_rows(several), chosen)) for data, several in sets.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return "\n".join(f"### {spell_data(data)}\n\n{table}" for data, table in tables.items())


def _commands(paths: Iterable[Path]) -> list[str]:
    """What was typed to make the runs, where `compare` left it in the folders."""
    commands: list[Any] = []
    for path in paths:
        results = path / "results.json"
        content = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
        commands.append(content.get("command") or None)
    return [] if None in commands else commands
