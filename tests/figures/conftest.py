"""Figures as they are when they are written."""

import importlib
from typing import Any

import pytest


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that a test writes, in order; the files are written too."""
    figures: list[Any] = []
    kind = importlib.import_module("matplotlib.figure").Figure
    write = kind.savefig

    def keep(figure: Any, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        write(figure, *arguments, **options)

    monkeypatch.setattr(kind, "savefig", keep)
    return figures
