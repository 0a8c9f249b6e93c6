"""Classifiers of torchvision and timm by their names there, with the options that a mixup experiment needs.

Both libraries belong to the ``train`` extra and are imported when a model is asked for.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from torch import nn

from alignmixup.models.preact_resnet import check_size
from alignmixup.models.weights import download_weights, library, load_except_head, read_weights
from alignmixup.near import near

__all__ = ["build_timm", "build_torchvision"]


def build_torchvision(
    library_name: str,
    num_classes: int,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    small_stem: bool = False,
    in_channels: int = 3,
    image_size: int | None = None,
) -> nn.Module:
    """A classifier of ``torchvision.models``.

    Args:
        library_name: name in ``torchvision.models.list_models()``, such as "resnet18".
        num_classes: outputs of the last layer, >= 1.
        pretrained: start from the library's default weights (downloaded once); another head starts afresh.
        weights: path of a state dict to start from instead (.pth or .safetensors).
        small_stem: 3x3 stride-1 first convolution and no max-pooling, as CIFAR ResNets have;
            replaced after loading weights.
        in_channels: channels of the images; the first convolution starts afresh unless it is 3.
        image_size: side of the images, for models built for one size (ViT, MaxViT); None means 224.

    Raises:
        ValueError: unknown name (near names are listed), option out of range or impossible for this model.
        FileNotFoundError: weights neither here nor to be downloaded.
    """
    vision_models = library("torchvision.models")
    names = vision_models.list_models(module=vision_models)
    if library_name not in names:
        raise ValueError(_unknown("torchvision", library_name, names))
    _check(num_classes, in_channels, image_size)
    settings = _torchvision_settings(library_name, image_size, pretrained=pretrained)
    settings |= {"weights": None, "num_classes": num_classes}
    model = cast(nn.Module, vision_models.get_model(library_name, **settings))
    if weights is not None:
        load_except_head(model, read_weights(weights), num_classes)
    elif pretrained:
        published = vision_models.get_model_weights(library_name).DEFAULT
        load_except_head(model, download_weights(published), num_classes)
    if in_channels != 3:
        if pretrained or weights is not None:
            raise ValueError(
                f"torchvision:{library_name}: pretrained weights are for 3 channels, "
                f"got in_channels={in_channels}; timm models adapt theirs"
            )
        _replace_first_convolution(model, in_channels)
    if small_stem:
        _shrink_stem(model, f"torchvision:{library_name}", in_channels)
    return model


def build_timm(
    library_name: str,
    num_classes: int,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    small_stem: bool = False,
    in_channels: int = 3,
    image_size: int | None = None,
) -> nn.Module:
    """A classifier of timm, which adapts its pretrained weights to other channels, sizes and class numbers.

    Args:
        library_name: name in ``timm.list_models()``, with a tag if wanted:
            "vit_tiny_patch16_224.augreg_in21k".
        num_classes: outputs of the last layer, >= 1.
        pretrained: start from the weights of the tag (downloaded once from the Hugging Face Hub).
        weights: path of a state dict to start from instead (.pth or .safetensors).
        small_stem: 3x3 stride-1 first convolution and no max-pooling, as CIFAR ResNets have;
            replaced after loading weights.
        in_channels: channels of the images.
        image_size: side of the images, for models built for one size (ViT, Swin, MLP-Mixer); None means
            the model's own.

    Raises:
        ValueError: unknown name (near names are listed), option out of range or impossible for this model.
        FileNotFoundError: weights neither here nor to be downloaded.
    """
    timm = library("timm")
    architecture = library_name.partition(".")[0]
    if not timm.is_model(architecture):
        raise ValueError(_unknown("timm", library_name, timm.list_models()))
    _check(num_classes, in_channels, image_size)
    settings: dict[str, Any] = {"pretrained": pretrained and weights is None, "num_classes": num_classes}
    settings["in_chans"] = in_channels
    if image_size is not None:
        settings["img_size"] = image_size
    model = _create_timm(timm, library_name, settings)
    if weights is not None:
        load_except_head(model, read_weights(weights), num_classes)
    if small_stem:
        _shrink_stem(model, f"timm:{library_name}", in_channels)
    return model


def _create_timm(timm: Any, library_name: str, settings: dict[str, Any]) -> nn.Module:
    try:
        return cast(nn.Module, timm.create_model(library_name, **settings))
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        raise ValueError(f"timm:{library_name} takes images of any size: leave image_size out") from error
    except OSError as error:  # offline: the hub's errors are OSErrors, and so are urllib's
        if not settings["pretrained"]:
            raise
        raise FileNotFoundError(
            f"the pretrained weights of timm:{library_name} could not be downloaded "
            f"({type(error).__name__}: {error}). Fetch the model's file from https://huggingface.co/timm by "
            "hand and name it in the option weights=PATH"
        ) from error
    except RuntimeError as error:
        if "retrained" not in str(error):  # "No pretrained weights exist", "Invalid pretrained tag"
            raise
        known = timm.list_pretrained(f"{library_name.partition('.')[0]}*")
        names = ", ".join(known[:8]) or "none"
        raise ValueError(f"timm:{library_name}: {error} Known with weights: {names}") from error


def _torchvision_settings(library_name: str, image_size: int | None, *, pretrained: bool) -> dict[str, Any]:
    if library_name in ("googlenet", "inception_v3"):
        # without auxiliary heads the output is a plain tensor in training too; the published weights expect
        # another normalisation of the inputs, which transform_input makes
        return {"aux_logits": False, "init_weights": not pretrained, "transform_input": pretrained}
    if image_size is None:
        return {}
    if library_name.startswith("vit_"):
        if pretrained and image_size != 224:
            raise ValueError(
                f"torchvision:{library_name}: its pretrained weights are for 224-pixel images, "
                f"got image_size={image_size}; timm models adapt theirs"
            )
        return {"image_size": image_size}
    if library_name.startswith("maxvit"):
        return {"input_size": (image_size, image_size)}
    raise ValueError(f"torchvision:{library_name} takes images of any size: leave image_size out")


def _replace_first_convolution(model: nn.Module, in_channels: int) -> None:
    name, old = next((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        cast(tuple[int, int], old.kernel_size),
        stride=cast(tuple[int, int], old.stride),
        padding=cast(tuple[int, int], old.padding),
        bias=old.bias is not None,
    )
    model.set_submodule(name, new)


def _shrink_stem(model: nn.Module, name: str, in_channels: int) -> None:
    first = getattr(model, "conv1", None)
    parts = first.modules() if isinstance(first, nn.Module) else ()
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    if not convolutions or not isinstance(getattr(model, "maxpool", None), nn.Module):
        raise ValueError(
            f"small_stem needs a ResNet-like model with modules conv1 and maxpool, which {name} lacks; "
            "resnet, resnext and wide_resnet models have them, preact_resnet18 needs none"
        )
    conv1 = nn.Conv2d(in_channels, convolutions[-1].out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv1.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = conv1
    model.maxpool = nn.Identity()


def _check(num_classes: int, in_channels: int, image_size: int | None) -> None:
    check_size("num_classes", num_classes)
    check_size("in_channels", in_channels)
    if image_size is not None:
        check_size("image_size", image_size)


def _unknown(library: str, library_name: str, names: Iterable[str]) -> str:
    return f"{library} has no model {library_name!r} (see its list_models()); {near(library_name, names)}"
