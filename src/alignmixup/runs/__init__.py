"""Runs as things of the library: load one, train, evaluate, localize, compare many."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignmixup.runs.comparison.compare import compare
    from alignmixup.runs.evaluation import evaluate
    from alignmixup.runs.loading import load
    from alignmixup.runs.localization_report import localize
    from alignmixup.runs.run import Run
    from alignmixup.runs.training import train

_HOMES = {
    "Run": "run",
    "compare": "comparison.compare",
    "evaluate": "evaluation",
    "load": "loading",
    "localize": "localization_report",
    "train": "training",
}

__all__ = ["Run", "compare", "evaluate", "load", "localize", "train"]


def __getattr__(name: str) -> Any:
    """Import a name at its first use, so that ``alignmixup --help`` need not load torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"alignmixup.runs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'alignmixup.runs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
