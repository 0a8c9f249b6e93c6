"""``--config`` and ``--set``, and the list of all keys in ``--help``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from alignmixup.options import Option, options_of
from alignmixup.training.config import TABLES, OpenTable


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override configuration keys, such as --set train.epochs=5 method.alpha=2",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import the modules outside this package that a run's configuration names; they can do anything",
    )


class CommandParser(argparse.ArgumentParser):
    """Parser of one command, whose help may end in a text that is made (with torch loaded) only when asked for."""

    def __init__(self, *args: Any, ending: Callable[[], str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending = ending

    def format_help(self) -> str:
        """Return the help text."""
        text = super().format_help()
        return text if self._ending is None else f"{text}\n{self._ending()}\n"


def list_keys() -> str:
    """Every key with its default and meaning, as the end of a help text."""
    blocks = ["Configuration keys, for --set KEY=VALUE or as [table] and key in a TOML file:"]
    for name, cls in TABLES.items():
        lines = [f"\n[{name}]  {_first_line(cls)}"]
        lines += _entries(name, options_of(cls))
        if issubclass(cls, OpenTable):
            lines += _open_entries(name)
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _open_entries(table: str) -> list[str]:
    """Entries of the options that belong to the default method or model; others have their own."""
    from alignmixup import methods, models

    if table == "method":
        name, known = "alignmixup", methods.options("alignmixup")
        others = "`alignmixup methods NAME` lists those of the others"
    else:
        name, known = "preact_resnet18", models.options("preact_resnet18")
        others = "torchvision:NAME and timm:NAME take " + ", ".join(models.options("timm:resnet26d"))
    return [f"  options of {name}; {others}", *_entries(table, known)]


def _entries(table: str, known: Mapping[str, Option]) -> list[str]:
    return [_entry(f"{table}.{key}={item.written}", item.meaning) for key, item in known.items() if item.help]


def _entry(key: str, text: str) -> str:
    indent = " " * 40
    wrapped = textwrap.wrap(text, width=70) or [""]
    if len(key) > 36:
        return "\n".join([f"  {key}", *(indent + line for line in wrapped)])
    return "\n".join([f"  {key:<38}{wrapped[0]}", *(indent + line for line in wrapped[1:])])


def _first_line(cls: type[Any]) -> str:
    return (cls.__doc__ or "").splitlines()[0]
