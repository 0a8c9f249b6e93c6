"""What the options of a method or a model mean, read from the docstrings of its classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

_ENTRY = re.compile(r"^ {4}(\w[\w, ]*): (.*)$")


@dataclass(frozen=True)
class OptionDoc:
    """One option.

    Attributes:
        name: key in a configuration.
        default: its default, as a configuration would write it.
        meaning: its sentence in the docstring; empty if there is none.
    """

    name: str
    default: str
    meaning: str


def explain(parameters: Mapping[str, inspect.Parameter], cls: type) -> list[OptionDoc]:
    """Join parameters with the "Args" of a class and of the classes it derives from."""
    meanings: dict[str, str] = {}
    for base in reversed(inspect.getmro(cls)):
        meanings |= _arguments(base.__doc__ or "")
    return [OptionDoc(name, _written(p.default), meanings.get(name, "")) for name, p in parameters.items()]


def _arguments(docstring: str) -> dict[str, str]:
    """Read the entries of the section "Args"."""
    meanings: dict[str, str] = {}
    inside, names = False, [""]
    for line in inspect.cleandoc(docstring).splitlines():
        if not line.startswith(" "):
            inside = line == "Args:" or (inside and not line)
        elif inside and (entry := _ENTRY.match(line)):
            names = entry[1].split(", ")
            meanings |= dict.fromkeys(names, entry[2])
        elif inside:
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return {name: text.replace("``", "") for name, text in meanings.items()}


def _written(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    if isinstance(default, bool):
        return str(default).lower()
    return str(list(default)) if isinstance(default, tuple) else str(default)
