"""Packages that commands need and the core does not."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


def require(name: str) -> ModuleType | Any:
    """Import an optional package.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{name.partition(".")[0]} is needed here: pip install "alignmixup[train]"') from error
