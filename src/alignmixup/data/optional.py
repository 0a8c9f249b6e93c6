"""Import of the packages that only the ``train`` extra brings."""

import importlib
from typing import Any

__all__ = ["optional"]


def optional(module: str) -> Any:
    """The module of that name; an ImportError that says what to install where it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{module} is needed for this: pip install "alignmixup[train]"') from error
