"""What lies outside the package: optional packages, and objects of a user's own code by name."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["find", "is_outside", "missing", "require", "require_file"]

_NO_PARTS = {*sys.stdlib_module_names, "torch"}  # none holds a network or a method, and some of it runs anything


def is_outside(name: str) -> bool:
    """Whether a name of a network or a method stands for code outside this package, which importing it runs."""
    module, colon, _ = name.partition(":")
    return bool(colon) and module not in ("torchvision", "timm")


def find(path: str) -> Any:
    """Import what ``path``, ``"package.module:name"``, stands for.

    The current folder is searched too, after the installed packages, as ``python -m`` does and a console script does
    not.

    Raises:
        ValueError: not of this form, of Python's own library or torch's, no such module, or nothing of that name in it.
        ImportError: the module is there and cannot be imported.
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ValueError(f"{path!r} is not of the form package.module:name")
    if module_name.partition(".")[0] in _NO_PARTS:
        raise ValueError(f"{path!r} is a part of Python or torch, and no network or method of one's own")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses something else
        raise ValueError(f"{path!r}: no module {error.name!r}, neither installed nor in {here}") from error
    if not hasattr(module, name):
        raise ValueError(f"{path!r}: module {module_name!r} has no {name!r}")
    return getattr(module, name)


def require(module: str, *, extra: str = "train") -> Any:
    """Import a module that only an extra of this package brings.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(missing(module, extra)) from error


def require_file(package: str, path: str) -> Path:
    """A file that lies in a package which only the extra ``train`` brings, without importing that package.

    Raises:
        ImportError: the package is not installed; says how to install it.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(missing(package, "train"))
    return Path(found.origin).parent / path


def missing(module: str, extra: str) -> str:
    """What to say where a module is not installed: which extra brings it."""
    return f'{module.partition(".")[0]} is needed for this: pip install "alignmixup[{extra}]"'
