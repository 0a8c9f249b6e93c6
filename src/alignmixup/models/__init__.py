"""Networks that know nothing of mixing: PreActResNet-18, VGG-GAP, torchvision and timm classifiers by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import nn

from alignmixup.models.by_name import RENORMALISING, build_named
from alignmixup.models.preact_resnet import PreActResNet18
from alignmixup.models.resnet_gap import build_resnet50_gap
from alignmixup.models.vgg_gap import VGG16GAP
from alignmixup.near import near
from alignmixup.options import Option, parameters_of
from alignmixup.outside import find, is_outside

__all__ = ["VGG16GAP", "PreActResNet18", "available", "build", "check_options", "options", "without_start"]

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "preact_resnet18": PreActResNet18,
    "vgg16_gap": VGG16GAP,
    "resnet50_gap": build_resnet50_gap,
    "torchvision": build_named,
    "timm": build_named,
}
_LIBRARIES = ("torchvision", "timm")


def available() -> tuple[str, ...]:
    """Names that ``build`` accepts, beside ``package.module:function``; NAME stands for any of that library's.

    Example:
        >>> from alignmixup import models
        >>> models.available()
        ('preact_resnet18', 'vgg16_gap', 'resnet50_gap', 'torchvision:NAME', 'timm:NAME')
    """
    return tuple(f"{name}:NAME" if name in _LIBRARIES else name for name in _BUILDERS)


def options(name: str) -> dict[str, Option]:
    """Options of the model ``name`` that ``build`` accepts, by their names, with types and defaults.

    Example:
        >>> from alignmixup import models
        >>> models.options("preact_resnet18")["width"].default
        64
    """
    given = ("name", "num_classes")
    return {key: item for key, item in parameters_of(_builder(name)).items() if key not in given}


def without_start(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that build the same network without the weights that it starts from, which are neither read nor fetched.

    A function outside this package keeps all of its options: what it makes of them is its own.
    """
    if is_outside(name):
        return dict(options)
    kept = {key: value for key, value in options.items() if key not in ("pretrained", "weights")}
    if options.get("pretrained") and name in RENORMALISING:
        kept.setdefault("transform_input", True)
    return kept


def build(name: str, *, num_classes: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A network that maps images to (B, num_classes) logits.

    Args:
        name: "preact_resnet18", "vgg16_gap", "torchvision:resnet18", "timm:vit_tiny_patch16_224"..., or
            "package.module:function" for a class or function outside this package that takes ``num_classes``.
        num_classes: outputs of the last layer, >= 1.
        options: keywords of the network; see ``alignmixup.models.options(name)``.

    Returns:
        The network in training mode, on the CPU, in float32.

    Raises:
        ValueError: unknown name or option (near names are listed), or an option out of range.
        FileNotFoundError: pretrained weights asked for that are neither here nor to be downloaded.
        ImportError: torchvision or timm is not installed, or an outside module cannot be imported.
        TypeError: what an outside function returns is no ``nn.Module``.

    Example:
        >>> from alignmixup import models
        >>> models.build("preact_resnet18", num_classes=10, options={"width": 16}).head
        Linear(in_features=128, out_features=10, bias=True)
    """
    builder = _builder(name)
    chosen = dict(options or {})
    check_options(name, chosen)
    if name.partition(":")[0] in _LIBRARIES:
        return builder(name, num_classes, **chosen)
    model = builder(num_classes=num_classes, **chosen)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name!r} returned {type(model).__name__}, not an nn.Module")
    return model


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check the options of a model, one by one and without building it.

    Raises:
        ValueError, TypeError, ImportError: as ``build`` does of ``name`` and ``options``.

    Example:
        >>> from alignmixup import models
        >>> models.check_options("preact_resnet18", {"width": 16})
    """
    known = globals()["options"](name)
    for key, value in options.items():
        if key in known:
            known[key].check(value)
        elif not _takes_any(_builder(name)):
            raise ValueError(f"model {name!r} has no option {key!r}; {near(key, known)}")


def _builder(name: str) -> Callable[..., nn.Module]:
    library, colon, rest = name.partition(":")
    if library in _LIBRARIES and rest:
        return _BUILDERS[library]
    if not colon and name in _BUILDERS and name not in _LIBRARIES:
        return _BUILDERS[name]
    written = f"{library}:NAME" if colon else library
    unknown = f"unknown model {name!r}; {near(written, [*available(), 'package.module:function'])}"
    if not colon or not rest:
        raise ValueError(unknown)
    try:
        found = find(name)
    except ValueError as error:
        raise ValueError(f"{unknown} ({error})") from error
    if not callable(found):
        raise ValueError(f"{name!r} is a {type(found).__name__}, not a class or function")
    if "num_classes" not in inspect.signature(found).parameters and not _takes_any(found):
        raise ValueError(f"{name!r} does not take num_classes")
    return cast(Callable[..., nn.Module], found)


def _takes_any(builder: Callable[..., Any]) -> bool:
    parameters = inspect.signature(builder).parameters
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
