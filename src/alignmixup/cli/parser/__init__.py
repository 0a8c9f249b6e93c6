"""Parsers that take options by their whole names only, and offer near names for what they do not know."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alignmixup.near import near
from alignmixup.options import options_of
from alignmixup.training.config import TABLES


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations: ``--seed`` is refused and not taken for ``--seeds``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings | {"allow_abbrev": False})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an argument that is left over is refused with the names like it."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            name = getattr(options, "command", None)
            parser = commands_of(self).get(name, self) if name else self
            parser.error(_unknown(parser, rest))
        return options

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Refuse an empty text, as of a variable that is not set: a path would be the current folder."""
        if arg_string == "" and action.default != "":
            raise argparse.ArgumentError(action, "got an empty text; leave it out, or give a value")
        value = super()._get_value(action, arg_string)
        # shells leave --out=~/runs as it is
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"unknown {value!r}; {near(str(value), map(str, action.choices))}")


class CommandParser(Parser):
    """Parser of one command, whose help may end in a text that is made (with torch loaded) only when asked for."""

    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Return the help text."""
        text = super().format_help()
        return text if self.ending is None else f"{text}\n{self.ending()}"


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of the parser of them all, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options_of_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options that the help of a parser shows, each once, without what stands in its place by position."""
    return (action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS)


def _unknown(parser: argparse.ArgumentParser, rest: Sequence[str]) -> str:
    """What is not understood, and what may have been meant."""
    flag, equals, value = rest[0].partition("=")
    known = [text for action in options_of_parser(parser) for text in action.option_strings if text.startswith("--")]
    if not flag.startswith("-"):
        folder = any("--data" in action.option_strings and action.metavar == "DIR" for action in parser._actions)
        meant = "--data" if folder and Path(flag).is_dir() else "--config" if "--config" in known else ""
        meant = "--set" if equals and "--set" in known and flag.partition(".")[0] in TABLES else meant
        return f"unexpected argument {rest[0]!r}" + (f"; did you mean {meant} {rest[0]}?" if meant else "")
    hints = [*_starting(flag, known), *difflib.get_close_matches(flag, known, n=2, cutoff=0.7)]
    if "--set" in known:
        if not equals and len(rest) > 1 and not rest[1].startswith("-"):
            value = rest[1]
        hints += [f"--set {key}={value or 'VALUE'}" for key in _keys(flag)]
    hints = list(dict.fromkeys(hints))[:3]
    return f"unknown option {flag}; " + (
        f"did you mean {' or '.join(hints)}?" if hints else f"`{parser.prog} --help` lists those there are"
    )


def _starting(flag: str, known: Sequence[str]) -> list[str]:
    """Options that begin like ``flag``, where it is long enough to tell something."""
    return [name for name in known if len(flag) > 3 and name.startswith(flag)][:2]


def _keys(flag: str) -> list[str]:
    """Keys of a configuration that are called as the option, or nearly, such as ``train.epochs`` for ``--epoch``."""
    wanted = flag.lstrip("-").replace("-", "_")
    keys = [(table, name) for table, cls in TABLES.items() for name in options_of(cls) if name != "name"]
    near = difflib.get_close_matches(wanted, {name for _, name in keys}, n=1, cutoff=0.85)
    names = {wanted} & {name for _, name in keys} or set(near)
    return [f"{table}.{name}" for table, name in keys if name in names or f"{table}.{name}" == wanted]
