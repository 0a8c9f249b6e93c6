"""What a benchmark found: settings, rows of numbers, and where they were taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """Result of one question.

    Attributes:
        question: its name.
        settings: what was asked for, ready for JSON.
        rows: one dictionary per measured case, with the same keys; units are in the keys.
        notes: sentences to print below the table, such as a rival that is not installed.
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
