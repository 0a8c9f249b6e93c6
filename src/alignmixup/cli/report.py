"""One HTML page of finished runs: table, charts, pictures, configurations.

Read the records of finished runs and write one HTML page that needs nothing else: the table with the paper's numbers,
training curves, cost against error, what `evaluate` measured, pictures that other commands drew in the run folders,
every configuration and the commands that make it again. Trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alignmixup.near import alternatives
from alignmixup.terminal import say
from alignmixup.training.config_file import ConfigError

_PAGES = (".html", ".htm")
_COMMANDS = {"error": "train", "evaluation": "evaluate", "localization": "localize"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, folders above them, or stored records"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="the page, or a table where it ends in .csv, .md or .tex (default: report.html; --table: the screen)",
    )
    parser.add_argument("--title", default="", help="heading of the page")
    table = parser.add_mutually_exclusive_group()
    table.add_argument(
        "--table", choices=("csv", "markdown", "latex"), help="write tables alone (default: by the ending of --out)"
    )
    table.add_argument("--markdown", dest="table", action="store_const", const="markdown", help="--table markdown")
    parser.add_argument(
        "--numbers",
        choices=("error", "evaluation", "localization"),
        default="error",
        help="which tables: of the records, or of what `evaluate` or `localize` left in the folders (default: error)",
    )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="columns of the table of errors, separated by commas, such as method,last10,ece",
    )
    parser.add_argument(
        "--records", type=Path, metavar="DIR", help="also store compact records in DIR/records.jsonl, one run a line"
    )
    parser.add_argument(
        "--check", action="store_true", help="only say what is wrong with stored records, one line a fault (status 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page or the table."""
    if options.check:
        _check_idle(options)
        return _check(options.runs)
    from alignmixup.files import write_text
    from alignmixup.report.collect import find_runs, find_shared
    from alignmixup.report.storing import write_records
    from alignmixup.runs.folder import RunFolder

    kind = _kind(options)
    _check_asked(options, kind)
    out = options.out or (Path("report.html") if kind is None else None)
    if out:
        RunFolder(out.parent).check_output(out)
    runs = find_runs(options.runs)
    if kind is not None:
        text = _tables(runs, options, kind)
    else:
        from alignmixup.report.page import build_page

        shared = find_shared(options.runs)
        text = build_page(runs, shared=shared, title=options.title, commands=_commands(options.runs))
    if options.records:  # when nothing can be refused any more
        say(f"{write_records(runs, options.records)}: {len(runs)} records")
    if out is None:
        say(text, end="")
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    say(out)
    return 0


def _check_idle(options: argparse.Namespace) -> None:
    """Refuse what would do nothing beside ``--check``."""
    asked = {name: getattr(options, name) for name in ("out", "title", "table", "columns", "records")}
    asked["numbers"] = None if options.numbers == "error" else options.numbers
    for name, value in asked.items():
        if value:
            raise ConfigError(f"--{name} {value}: --check writes nothing; leave one of them out")


def _check_asked(options: argparse.Namespace, kind: str | None) -> None:
    """Refuse what would do nothing for a table of this format; None is the page."""
    if options.columns and (kind is None or options.numbers != "error"):
        raise ConfigError("--columns chooses the columns of a table of errors (--table); the page has them all")
    if options.numbers != "error" and kind is None:
        raise ConfigError(f"--numbers {options.numbers} is of a table (--table, or -o FILE.csv); the page has them all")
    if options.title and kind is not None:
        raise ConfigError(f"--title {options.title}: it is the heading of the page, and a table has none")
    if options.records and options.records.exists() and not options.records.is_dir():
        raise ConfigError(f"--records {options.records} is a file: name a folder")


def _check(paths: Iterable[Path]) -> int:
    """Print the faults of the stored records at or below the paths."""
    from alignmixup.report.collect import STORED
    from alignmixup.report.faults import faults

    found = []
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob(STORED))
        if not files:
            raise FileNotFoundError(
                f"{path} holds no {STORED}: store the runs first, `alignmixup report RUNS --records DIR`"
            )
        found += [fault for file in files for fault in faults(file)]
    for fault in found:
        say(fault)
    return 1 if found else 0


def _kind(options: argparse.Namespace) -> str | None:
    """The format of a table; None where the page is meant."""
    from alignmixup.report.formats import ENDINGS

    told = ENDINGS.get(options.out.suffix.lower()) if options.out else None
    if options.out and not (told or options.table or options.out.suffix.lower() in _PAGES):
        raise ConfigError(f"--out {options.out}: end in .html, which is the page, or in {alternatives([*ENDINGS])}")
    if options.table and told and options.table != told:
        raise ConfigError(f"--out {options.out} ends as {told} and --table says {options.table}: leave one of them out")
    return options.table or told


def _tables(runs: Sequence[Any], options: argparse.Namespace, kind: str) -> str:
    """The tables of each data set, each under its heading where there are several."""
    from alignmixup.report.collect import find_shared
    from alignmixup.report.formats import FORMATS
    from alignmixup.report.names import spell_data
    from alignmixup.report.rows import build_rows, warnings
    from alignmixup.report.tables import evaluation_tables, localization_tables, tabulate

    sets: dict[str, list[Any]] = {}
    for one in runs:
        sets.setdefault(one.data, []).append(one)
    chosen = [name.strip() for name in options.columns.split(",")] if options.columns else None
    tables: list[tuple[str, Any]] = []
    if options.numbers == "localization":
        shared = find_shared(options.runs).localizations
        found = [*(one.localization for one in runs if one.localization), *shared]
        tables = [(table.caption, table) for table in localization_tables(found)]
    else:
        for data, several in sets.items():
            rows = build_rows(several)
            own = evaluation_tables(rows) if options.numbers == "evaluation" else [tabulate(rows, chosen)]
            for warning in warnings(rows):
                say(warning, file=sys.stderr)
            tables += [(", ".join(filter(None, (spell_data(data), table.caption))), table) for table in own]
    if not tables:
        raise FileNotFoundError(f"the runs hold nothing that `alignmixup {_COMMANDS[options.numbers]}` measured")
    texts = [FORMATS[kind](table) for _, table in tables]
    if len(texts) == 1:
        return texts[0]
    heading = {"csv": "# {}\n", "markdown": "### {}\n\n", "latex": "% {}\n"}[kind]
    return "\n".join(heading.format(name) + text for (name, _), text in zip(tables, texts, strict=True))


def _commands(paths: Iterable[Path]) -> list[str]:
    """What was typed to make the runs, where `compare` left it in the folders."""
    from alignmixup.records import read_results

    commands: list[Any] = []
    for path in paths:
        results = path / "results.json"
        content = read_results(results) if results.is_file() else {}
        commands.append(content.get("command") or None)
    return [] if None in commands else commands
