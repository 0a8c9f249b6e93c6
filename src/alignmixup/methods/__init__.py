"""The mixing methods. The folder is the registry: ``methods/<name>.py`` defines the one mixer called ``<name>``."""

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from alignmixup.methods import base
from alignmixup.methods.base import Draw, DropIn, HiddenMixer, MixedBatch, Mixer, PairMixer, Pixels
from alignmixup.near import near
from alignmixup.options import Option, options_of
from alignmixup.outside import find

__all__ = [
    "Draw",
    "DropIn",
    "HiddenMixer",
    "MixedBatch",
    "Mixer",
    "PairMixer",
    "Pixels",
    "available",
    "build",
    "check_options",
    "load",
    "options",
]

_NOT_OPTIONS = {"model", "num_classes", "targets", "mean", "std", "seed", "generator"}

# Options that methods had and that meant nothing there, at the values at which they did no harm: configurations and run
# folders of that time may hold them.
_NO_LAMBDA = "no λ is drawn"
_RETIRED: dict[str, dict[str, tuple[Any, str]]] = {
    "baseline": {
        "alpha": (1.0, _NO_LAMBDA),
        "lam_per": ("batch", _NO_LAMBDA),
        "probability": (0.0, "nothing is mixed"),
        "active_epochs": (None, "nothing is mixed"),
    },
    "switch": {
        "alpha": (1.0, "each of its mixers has its own"),
        "lam_per": ("batch", "each of its mixers has its own"),
    },
    "comixup": {"lam_per": ("batch", _NO_LAMBDA)},
}

# modules of base/ that stood in this folder, for code that imports from there
for _name in ("batch", "drop_in", "gradients", "hidden_mixer"):
    sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"{base.__name__}.{_name}")


def available() -> tuple[str, ...]:
    """Name the methods of this package, in alphabetical order.

    Example:
        >>> from alignmixup import methods
        >>> methods.available()[:3]
        ('alignmixup', 'alignmixup_ae', 'attentivemix')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


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
        raise ValueError(f"unknown method {name!r}; {near(name, available())}")
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Mixer) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"methods/{name}.py must define exactly one Mixer, found {[c.__name__ for c in found]}")
    return found[0]


def options(name: str) -> dict[str, Option]:
    """Return the options that a configuration may set for a method, what is particular to it first.

    Example:
        >>> from alignmixup import methods
        >>> methods.options("mixup")["alpha"].default
        1.0
    """
    found, common = options_of(load(name)), options_of(Mixer)
    order = sorted(found, key=lambda key: key in common)  # stable: particular ones stay in front
    return {key: found[key] for key in order if key not in _NOT_OPTIONS}


def build(
    name: str,
    *,
    model: nn.Module | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_counts: Sequence[float] | None = None,
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
        class_counts: training images of each class, for methods that ask; the option of that name goes before.
        seed: seed of the mixer's stream, the same in every process.
        generator: CPU generator to draw from as it is, in place of a seed.
        options: the method's options, see :func:`options`.

    Raises:
        ValueError: unknown method or option (near names are listed), or a value out of range.

    Example:
        >>> from alignmixup import methods
        >>> mixer = methods.build("cutmix", num_classes=10, options={"alpha": 0.5})
        >>> mixer.alpha
        0.5
    """
    chosen = check_options(name, options or {})
    method, known = load(name), globals()["options"](name)
    given: dict[str, Any] = {"num_classes": num_classes, "mean": mean, "std": std}
    given = {key: value for key, value in given.items() if key in options_of(method)}
    if "class_counts" in known:
        chosen = {"class_counts": class_counts, **chosen}
    source: dict[str, Any] = {"seed": seed} if generator is None else {"generator": generator}
    return method(model, **given, **source, **chosen)


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a method, one by one and without building it; those that it once had are left out.

    Raises:
        ValueError: unknown method or option (near names are listed), or a value out of range.
        TypeError: a value of another type.

    Example:
        >>> from alignmixup import methods
        >>> methods.check_options("cutmix", {"alpha": 0.5})
        {'alpha': 0.5}
    """
    chosen, known = _without_retired(name, options), globals()["options"](name)
    for key, value in chosen.items():
        if key not in known:
            raise ValueError(f"method {name!r} has no option {key!r}; {near(key, known)}")
        known[key].check(value)
    return chosen


def _without_retired(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Drop options that a method once had without a meaning.

    Raises:
        ValueError: one of them at another value than its default of then.
    """
    retired = _RETIRED.get(name, {})
    for key, value in options.items():
        if key in retired and value != retired[key][0]:
            raise ValueError(f"{key} has no meaning in {name!r}, where {retired[key][1]}: leave it out, got {value!r}")
    return {key: value for key, value in options.items() if key not in retired}
