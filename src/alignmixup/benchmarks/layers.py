"""Which layers hidden mixing finds in other people's networks, and what share of the network they carry."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from alignmixup.benchmarks import generic
from alignmixup.methods.alignmixup import AlignMixup
from alignmixup.methods.base.hidden_mixer import HiddenMixer
from alignmixup.methods.manifold_mixup import ManifoldMixup
from alignmixup.outside import require

_CLASSES = 10


@dataclass(frozen=True)
class Network:
    """A classifier to try: its library, its module or architecture there and its name.

    ``shapes`` (B, C, ...) are those of the images: what is tried first, and what the network was made for.
    """

    library: str
    family: str
    name: str
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LayersFound:
    """What a method found in a network: the layers, their shapes and the least share of the logits that they carry.

    ``share`` is None where it was refused, for the reason ``refusal``.
    """

    network: str
    method: str
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    share: float | None
    refusal: str


def try_network(network: Network) -> list[LayersFound]:
    """Let each method find its layers in a network, new and untrained, in training mode; its own errors are raised."""
    found: list[LayersFound] = []
    for shape in network.shapes:
        torch.manual_seed(0)
        model = network.build().train()  # anew: some fit themselves to the first images
        x = torch.randn(shape)
        found = []
        for method in (AlignMixup, ManifoldMixup):
            with method(model, num_classes=_CLASSES, input_probability=0.0, generator=torch.Generator()) as mixer:
                found.append(find_layers(mixer, x, f"{network.library}:{network.name}"))
        if all(row.share is not None for row in found):
            break
    return found


def find_layers(mixer: HiddenMixer, x: Any, name: str) -> LayersFound:
    """Let a mixer look at its model."""
    method = type(mixer).__name__
    try:
        reports = mixer.check(x)
    except Exception as error:  # a table goes on with the next row; the row says what happened
        return LayersFound(name, method, (), (), None, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return LayersFound(
        name,
        method,
        tuple(report.name for report in reports),
        tuple(report.shape for report in reports),
        min(report.share for report in reports),
        "",
    )


def timm_networks() -> Iterator[Network]:
    """One small member of each module of timm, picked by what names say of sizes."""
    timm = require("timm")
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            name = min(names, key=_by_name)
            wanted = timm.get_pretrained_cfg(name)
            own, options = wanted.input_size[-1], {}
            if own > 512:  # a network that segments, at a size that fits memory
                own, options = 224, {"img_size": 224} if module == "vision_transformer_sam" else {}
            sizes = (own,) if wanted.fixed_input_size or own <= 128 else (128, own)
            yield Network(
                "timm",
                module,
                name,
                partial(timm.create_model, name, num_classes=_CLASSES, **options),
                tuple((4, 3, size, size) for size in sizes),
            )


def _by_name(name: str) -> tuple[int, int, str]:
    small = ("test", "femto", "atto", "pico", "nano", "tiny", "xxs", "xs", "mini", "_s0", "small", "_t", "18", "_s")
    return next((i for i, word in enumerate(small) if word in name), len(small)), len(name), name


def torchvision_networks() -> Iterator[Network]:
    """Every classifier of torchvision."""
    vision = import_module("torchvision.models")
    for name in vision.list_models(module=vision):
        size = 299 if name.startswith("inception") else 224 if name.startswith(("vit", "maxvit")) else 96
        build = partial(vision.get_model, name, weights=None, num_classes=_CLASSES)
        yield Network("torchvision", name, name, build, ((4, 3, size, size),))


def transformers_networks() -> Iterator[Network]:
    """Every image classifier of Hugging Face, from its default configuration with at most four layers."""
    auto = import_module("transformers.models.auto.modeling_auto")
    for kind, names in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.items():
        for name in (names,) if isinstance(names, str) else names:
            shapes = ((4, 3, 96, 96), (4, 3, 224, 224))
            yield Network("transformers", kind, name, partial(_build_transformer, kind, name), shapes)


_SMALLER = {
    "efficientnet": {"width_coefficient": 0.5, "depth_coefficient": 0.3, "hidden_dim": 640}
}  # the default: a B7
_MOST_PARAMETERS = 10**9


def _build_transformer(kind: str, name: str) -> nn.Module:
    transformers = import_module("transformers")
    config = transformers.AutoConfig.for_model(kind, num_labels=_CLASSES, **_SMALLER.get(kind, {}))
    for part in (config, getattr(config, "vision_config", config)):
        if isinstance(getattr(part, "num_hidden_layers", None), int):
            part.num_hidden_layers = min(4, part.num_hidden_layers)
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in getattr(transformers, name)(config).parameters())
    if count > _MOST_PARAMETERS:
        raise ValueError(f"{count / 1e9:.1f} billion parameters, left out")
    model: nn.Module = getattr(transformers, name)(config)
    return model


def monai_networks() -> Iterator[Network]:
    """Classifiers of volumes of MONAI, small ones."""
    nets = require("monai.networks.nets", extra="dev")
    volume = {"spatial_dims": 3, "in_channels": 1}
    chosen: dict[str, dict[str, Any]] = {
        "resnet10": {"spatial_dims": 3, "n_input_channels": 1, "num_classes": _CLASSES},
        "resnet18": {"spatial_dims": 3, "n_input_channels": 1, "num_classes": _CLASSES, "shortcut_type": "A"},
        "DenseNet121": volume | {"out_channels": _CLASSES},
        "DenseNet169": volume | {"out_channels": _CLASSES},
        "SEResNet50": volume | {"num_classes": _CLASSES},
        "SEResNext50": volume | {"num_classes": _CLASSES},
        "EfficientNetBN": volume | {"model_name": "efficientnet-b0", "pretrained": False, "num_classes": _CLASSES},
        "ViT": {
            **{"in_channels": 1, "img_size": (32, 32, 32), "patch_size": (8, 8, 8), "hidden_size": 48, "mlp_dim": 96},
            **{"num_layers": 4, "num_heads": 4, "classification": True, "num_classes": _CLASSES},
        },
        "Classifier": {"in_shape": (1, 32, 32, 32), "classes": _CLASSES, "channels": (8, 16), "strides": (2, 2)},
    }
    for name, options in chosen.items():
        yield Network("monai", name, name, partial(getattr(nets, name), **options), ((4, 1, 32, 32, 32),))


def generic_networks() -> Iterator[Network]:
    """Small classifiers of series and volumes."""
    series, volume = ((4, 3, 128),), ((4, 1, 16, 16, 16),)
    yield Network("generic", "1-D", "InceptionTime", partial(generic.InceptionTime, 3, _CLASSES), series)
    yield Network("generic", "1-D", "ResNet1d", partial(generic.ResNet, 1, 3, _CLASSES), series)
    yield Network("generic", "3-D", "ResNet3d", partial(generic.ResNet, 3, 1, _CLASSES), volume)
    for kind in (nn.LSTM, nn.GRU):
        yield Network("generic", "1-D", kind.__name__, partial(generic.Recurrent, kind, 3, _CLASSES), series)


LIBRARIES = {
    "timm": timm_networks,
    "torchvision": torchvision_networks,
    "transformers": transformers_networks,
    "monai": monai_networks,
    "generic": generic_networks,
}
