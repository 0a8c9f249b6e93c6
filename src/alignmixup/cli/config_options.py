"""``--config`` and ``--set``, and the list of all keys in ``--help``."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import fields
from typing import Any

from alignmixup.training.config import TABLES, OpenTable, describe


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


def list_keys() -> str:
    """Every key with its default and meaning, as the end of a help text."""
    blocks = ["Configuration keys, for --set KEY=VALUE or as [table] and key in a TOML file:"]
    for name, cls in TABLES.items():
        lines = [f"\n[{name}]  {_first_line(cls)}"]
        for item in fields(cls):
            if "help" not in item.metadata:
                continue
            allowed = describe(item)
            text = item.metadata["help"] + (
                f" ({allowed})" if allowed and allowed not in item.metadata["help"] else ""
            )
            lines.append(_entry(f"{name}.{item.name}={_written(item.default)}", text))
        if issubclass(cls, OpenTable):
            listing = (
                "`alignmixup methods NAME` lists them"
                if name == "method"
                else "see alignmixup.models.options"
            )
            lines.append(_entry(f"{name}.OPTION", f"the {name}'s own options; {listing}"))
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _entry(key: str, text: str) -> str:
    indent = " " * 40
    wrapped = textwrap.wrap(text, width=70)
    if len(key) > 36:
        return "\n".join([f"  {key}", *(indent + line for line in wrapped)])
    return "\n".join([f"  {key:<38}{wrapped[0]}", *(indent + line for line in wrapped[1:])])


def _first_line(cls: type[Any]) -> str:
    return (cls.__doc__ or "").splitlines()[0]


def _written(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(list(default)) if isinstance(default, tuple) else str(default)
