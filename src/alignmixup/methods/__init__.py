"""The mixing methods. The folder is the registry: ``methods/<name>.py`` defines the one mixer called ``<name>``."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from alignmixup.methods.base import Mixer, PairMixer
from alignmixup.methods.batch import Draw, MixedBatch
from alignmixup.methods.drop_in import DropIn
from alignmixup.methods.hidden_mixer import HiddenMixer
from alignmixup.outside import find

__all__ = [
    "Draw",
    "DropIn",
    "HiddenMixer",
    "MixedBatch",
    "Mixer",
    "PairMixer",
    "available",
    "build",
    "load",
    "options",
]

_FOUNDATIONS = {"base", "batch", "drop_in", "gradients", "hidden_mixer"}
_NOT_OPTIONS = {"model", "num_classes", "mean", "std", "generator"}


def available() -> tuple[str, ...]:
    """Name the methods of this package, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _FOUNDATIONS))


def load(name: str) -> type[Mixer]:
    """Return the class of a method.

    Args:
        name: a name from :func:`available`, or ``"package.module:Class"`` for a method outside this package.

    Raises:
        ValueError: there is no such method; near names are listed.
        ImportError: the module of an outside method cannot be imported.
    """
    if ":" in name:
        outside = find(name)
        if not (isinstance(outside, type) and issubclass(outside, Mixer)):
            raise ValueError(f"{name!r} is not a Mixer: expected package.module:Class with a subclass of Mixer")
        return outside
    if name not in available():
        near = difflib.get_close_matches(name, available(), n=3, cutoff=0.4) or available()
        raise ValueError(f"unknown method {name!r}; near names: {', '.join(near)}; see `alignmixup methods`")
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Mixer) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"methods/{name}.py must define exactly one Mixer, found {[c.__name__ for c in found]}")
    return found[0]


def options(name: str) -> dict[str, inspect.Parameter]:
    """Return the options that a configuration may set for a method, with their defaults."""
    parameters = inspect.signature(load(name)).parameters
    return {key: value for key, value in parameters.items() if key not in _NOT_OPTIONS}


def build(
    name: str,
    *,
    model: nn.Module | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    generator: torch.Generator | None = None,
    options: Mapping[str, Any] | None = None,
) -> Mixer:
    """Build a mixer from a name and options, as configurations do.

    Args:
        name: a name from :func:`available`, or ``"package.module:Class"``.
        model: the classifier.
        num_classes: number of classes K.
        mean: what normalising subtracted from each channel of the images; needed by methods that look at pixels.
        std: what it divided each channel by.
        seed: seed of the mixer's own generator; give each rank its own.
        generator: CPU generator to use instead of one seeded with ``seed``.
        options: the method's options, see :func:`options`.

    Raises:
        ValueError: unknown method or option (near names are listed), or a value out of range.
    """
    method = load(name)
    known = [key for key in inspect.signature(method).parameters if key not in _NOT_OPTIONS]
    for key in options or {}:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.4) or known
            raise ValueError(f"method {name!r} has no option {key!r}; near names: {', '.join(near)}")
    generator = generator or torch.Generator().manual_seed(seed)
    return method(model, num_classes=num_classes, mean=mean, std=std, generator=generator, **(options or {}))
