"""The command line: parses, calls, prints. Imports no torch until a command runs."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from alignmixup import __version__
from alignmixup.cli import align, benchmark, gallery, layers, localize, methods, morph, report, train, train_style
from alignmixup.cli.arguments import CommandParser, lower_first
from alignmixup.cli.compare import command as compare_command
from alignmixup.cli.evaluate import command as evaluate_command
from alignmixup.cli.export import command as export_command
from alignmixup.training.ranks import ToldElsewhereError, speaker

_COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "compare": compare_command,
    "report": report,
    "evaluate": evaluate_command,
    "localize": localize,
    "export": export_command,
    "gallery": gallery,
    "morph": morph,
    "align": align,
    "layers": layers,
    "methods": methods,
    "benchmark": benchmark,
    "train-style": train_style,
}
# What a user can cause and put right: shown as one line. Anything else is a defect and keeps its traceback.
_USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError, ToldElsewhereError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``alignmixup`` and return the exit status: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    _show_messages()
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except _USER_ERRORS as error:
        if options.traceback:
            raise
        if (name := speaker(error)) is not None:
            print(f"alignmixup {options.command}: {name}{error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="alignmixup",
        description="Train image classifiers with AlignMixup and its rivals, compare and evaluate them.",
        epilog="`alignmixup COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"alignmixup {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)
    for name, command in _COMMANDS.items():
        add_command(subparsers, name, command)
    return parser


def add_command(subparsers: Any, name: str, command: ModuleType) -> CommandParser:
    """Add a command: a module with ``add_arguments`` and ``run``, whose docstring is the help, a line and the rest."""
    summary, _, description = str(command.__doc__).partition("\n\n")
    parser: CommandParser = subparsers.add_parser(name, help=lower_first(summary), description=description)
    command.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=command.run)
    return parser


def _show_messages() -> None:
    """Notices and warnings of the library as single lines."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("alignmixup").setLevel(logging.INFO)

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        print(f"{category.__name__}: {message}", file=sys.stderr)

    warnings.showwarning = show
