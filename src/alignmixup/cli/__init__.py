"""The command line: parses, calls, prints. Imports no torch until a command runs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from alignmixup import __version__
from alignmixup.cli import (
    align,
    benchmark,
    configs,
    gallery,
    layers,
    localize,
    methods,
    morph,
    report,
    train,
    train_style,
)
from alignmixup.cli.arguments import lower_first
from alignmixup.cli.compare import command as compare_command
from alignmixup.cli.evaluate import command as evaluate_command
from alignmixup.cli.export import command as export_command
from alignmixup.cli.own_data import command as data_command
from alignmixup.cli.parser import CommandParser, Parser, completion
from alignmixup.cli.parser.next_step import next_step
from alignmixup.terminal import printable, say, write_all_letters
from alignmixup.training.processes.ranks import ToldElsewhereError, is_main_process, speaker, words_dead_workers

_COMMANDS: dict[str, ModuleType] = {
    "data": data_command,
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
    "configs": configs,
    "benchmark": benchmark,
    "train-style": train_style,
    "completion": completion,
}
# What a user can cause and put right: shown as one line. Anything else is a defect and keeps its traceback.
_USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError, ToldElsewhereError)

_LONGEST = 1200  # letters of a message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``alignmixup`` and return the exit status: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    write_all_letters()
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    _show_messages()
    try:
        status = int(words_dead_workers(options.run)(options))
        if status == 0 and (after := next_step(options)) and is_main_process():
            say(f"next: {after}", file=sys.stderr)
        return status
    except KeyboardInterrupt:
        say("stopped", file=sys.stderr)
        return 130
    except _USER_ERRORS as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 1
        if options.traceback:
            raise
        if (name := speaker(error)) is not None:
            say(f"alignmixup {options.command}: {readable(f'{name}{_said(error)}')}", file=sys.stderr)
        return 1


def _said(error: Exception) -> object:
    """An error of the system as ``a.txt: File exists``; Python's own text begins with ``[Errno 17]``."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return error


def _nobody_reads() -> bool:
    """Whether what reads standard output has ended, such as ``head``; then what is left is written nowhere."""
    try:
        say(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def readable(message: str) -> str:
    """A message without what would steer a terminal, since it may quote a foreign file, and of a length to be read."""
    text = printable(message)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST * 2 // 3]} [...] {text[-_LONGEST // 3 :]}"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
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


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _show_messages() -> None:
    """Notices and warnings of the library as single lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("alignmixup").setLevel(logging.INFO)

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        say(f"{category.__name__}: {message}", file=sys.stderr)

    warnings.showwarning = show
