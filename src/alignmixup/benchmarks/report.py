"""What a benchmark found: settings, rows of numbers, and where they were taken."""

import importlib.util
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """Result of one question, ready for JSON.

    A row is one measured case, all with the same keys, units in the keys; notes are printed below the table.
    """

    question: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)


def cell(value: Any) -> str:
    """A value as the table shows it: floats with three significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value != 0 and abs(value) < 1e-2:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def has(library: str) -> bool:
    """Whether a rival is installed."""
    return importlib.util.find_spec(library) is not None
