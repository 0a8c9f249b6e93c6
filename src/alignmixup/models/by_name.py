"""Classifiers of torchvision and timm by their names there, with the options that a mixup experiment needs.

Both libraries belong to the ``train`` extra and are imported when a model is asked for.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from alignmixup.models.sizes import check_sizes
from alignmixup.models.weights import download_weights, load_except_head, read_weights
from alignmixup.near import near
from alignmixup.outside import require
from alignmixup.seeds import own_stream

__all__ = ["RENORMALISING", "build_named", "check_renormalising"]

RENORMALISING = ("torchvision:googlenet", "torchvision:inception_v3")  # their published weights expect it


def build_named(
    name: str,
    num_classes: int,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    small_stem: bool = False,
    in_channels: int = 3,
    image_size: int | None = None,
    patch_size: int | None = None,
    transform_input: bool | None = None,
) -> nn.Module:
    """A classifier of torchvision or timm; timm adapts its pretrained weights to other channels and sizes.

    Args:
        name: "torchvision:NAME" of ``torchvision.models.list_models()``, or "timm:NAME" of ``timm.list_models()``, with
            a tag if wanted: "timm:vit_tiny_patch16_224.augreg_in21k".
        num_classes: outputs of the last layer, >= 1.
        pretrained: start from the library's default weights, or the tag's (downloaded once); another head starts
            afresh.
        weights: path of a state dict to start from instead (.pth or .safetensors).
        small_stem: 3x3 stride-1 first convolution and no max-pooling, as CIFAR ResNets have;
            replaced after loading weights.
        in_channels: channels of the images; of torchvision, the first convolution starts afresh unless it is 3.
        image_size: side of the images, for models built for one size (ViT, Swin, MaxViT...); None means the model's
            own.
        patch_size: side of a patch in pixels, of timm's models that are cut into patches (ViT, Swin...); None means the
            model's own. Pretrained patches are scaled.
        transform_input: torchvision's googlenet and inception_v3 normalise their inputs once more, as their published
            weights expect; None means where ``pretrained``, and is refused of other ``weights``, which do not tell.

    Raises:
        ValueError: unknown name (near names are listed), option out of range or impossible for this model.
        FileNotFoundError: weights neither here nor to be downloaded.
    """
    library, _, model_name = name.partition(":")
    build = _torchvision if library == "torchvision" else _timm
    asked = {"image_size": image_size, "patch_size": patch_size}
    sizes = {key: size for key, size in asked.items() if size is not None}
    check_sizes(num_classes=num_classes, in_channels=in_channels, **sizes)
    if transform_input is not None and name not in RENORMALISING:
        raise ValueError(f"transform_input is of {' and '.join(RENORMALISING)}: leave it out of {name}")
    own = weights is not None
    if own and not pretrained:
        check_renormalising(name, transform_input, source=f"{name} with weights={weights}")
    model = build(model_name, num_classes, in_channels, sizes, pretrained=pretrained, own_weights=own)
    if transform_input is not None:
        cast(Any, model).transform_input = transform_input
    if weights is not None:
        load_except_head(model, read_weights(weights), num_classes)
    if small_stem:
        _shrink_stem(model, name, in_channels)
    return model


def check_renormalising(name: str, transform_input: bool | None, *, source: str) -> None:
    """Refuse weights from a file of which nobody says whether they expect inputs that are normalised once more."""
    if name in RENORMALISING and transform_input is None:
        raise ValueError(
            f"{source}: say transform_input=true where they are torchvision's or were trained from them, "
            "transform_input=false where they were trained from scratch; no file tells"
        )


def _torchvision(
    name: str, num_classes: int, in_channels: int, sizes: Mapping[str, int], *, pretrained: bool, own_weights: bool
) -> nn.Module:
    vision_models = require("torchvision.models")
    names = vision_models.list_models(module=vision_models)
    if name not in names:
        raise _unknown("torchvision", name, names)
    if in_channels != 3 and (pretrained or own_weights):
        raise ValueError(
            f"torchvision:{name}: pretrained weights are for 3 channels, got in_channels={in_channels}; timm models "
            "adapt theirs"
        )
    if "patch_size" in sizes:
        raise ValueError(f"torchvision:{name} takes no patch_size: leave it out, or take a model of timm")
    settings = _torchvision_settings(name, sizes.get("image_size"), pretrained=pretrained)
    model = cast(nn.Module, vision_models.get_model(name, weights=None, num_classes=num_classes, **settings))
    if pretrained and not own_weights:
        load_except_head(model, download_weights(vision_models.get_model_weights(name).DEFAULT), num_classes)
    if in_channels != 3:
        _replace_first_convolution(model, in_channels)
    return model


def _torchvision_settings(name: str, image_size: int | None, *, pretrained: bool) -> dict[str, Any]:
    if image_size is None:
        if f"torchvision:{name}" not in RENORMALISING:
            return {}
        # without auxiliary heads the output is a plain tensor in training too; the published weights expect
        # another normalisation of the inputs, which transform_input makes
        return {"aux_logits": False, "init_weights": not pretrained, "transform_input": pretrained}
    if name.startswith("vit_"):
        if pretrained and image_size != 224:
            raise ValueError(
                f"torchvision:{name}: its pretrained weights are for 224-pixel images, got image_size={image_size}; "
                "timm models adapt theirs"
            )
        return {"image_size": image_size}
    if name.startswith("maxvit"):
        return {"input_size": (image_size, image_size)}
    raise ValueError(f"torchvision:{name} takes images of any size: leave image_size out")


def _timm(
    name: str, num_classes: int, in_channels: int, sizes: Mapping[str, int], *, pretrained: bool, own_weights: bool
) -> nn.Module:
    timm = require("timm")
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise _unknown("timm", name, timm.list_models())
    given = {"num_classes": num_classes, "in_chans": in_channels, **_in_timm(sizes)}
    pretrained = pretrained and not own_weights
    if len(sizes) == 2:
        _check_patches(name, sizes["image_size"], sizes["patch_size"])
    try:
        model = timm.create_model(name, pretrained=pretrained, **given)
    except (TypeError, AssertionError, NotImplementedError) as error:
        if "patch_size" in str(error) and isinstance(error, TypeError):
            raise ValueError(f"timm:{name} takes no patch_size: leave it out") from error
        if "img_size" in str(error) and isinstance(error, TypeError):
            raise ValueError(f"timm:{name} takes images of any size: leave image_size out") from error
        if not sizes:
            raise
        text = " and ".join(f"{key}={size}" for key, size in sizes.items())
        reason = str(error) or type(error).__name__
        raise ValueError(f"timm:{name} cannot have {text} ({reason}): take another size, or leave it out") from error
    except OSError as error:  # offline: the hub's errors are OSErrors, and so are urllib's
        if not pretrained:
            raise
        raise FileNotFoundError(
            f"the pretrained weights of timm:{name} could not be downloaded ({type(error).__name__}: {error}). Fetch "
            "the model's file from https://huggingface.co/timm by hand and name it in the option weights=PATH"
        ) from error
    except RuntimeError as error:
        if "retrained" not in str(error):  # "No pretrained weights exist", "Invalid pretrained tag"
            raise
        names = ", ".join(timm.list_pretrained(f"{architecture}*")[:8]) or "none"
        raise ValueError(f"timm:{name}: {error} Known with weights: {names}") from error
    if sizes:
        _check_used(name, model, sizes, given)
        patches: Any = getattr(model, "patch_embed", None)
        is_sized = isinstance(patches, require("timm.layers").PatchEmbed) and patches.img_size
        side = patches.img_size[0] if is_sized else sizes.get("image_size")
        if side is not None and not getattr(patches, "dynamic_img_pad", False):
            _check_first_patches(name, model, side)
    return cast(nn.Module, model)


def _in_timm(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes by the names that timm has for them."""
    return {"img_size" if key == "image_size" else key: size for key, size in sizes.items()}


def _check_used(name: str, model: nn.Module, sizes: Mapping[str, int], given: Mapping[str, int]) -> None:
    """Refuse sizes that timm takes and does nothing with: one of twice the size makes the same network."""
    for key, size in sizes.items():
        try:
            with own_stream(), torch.device("meta"):
                other = require("timm").create_model(name, **{**given, **_in_timm({key: 2 * size})})
        except Exception:  # what has no such size, for whatever reason, looks at it
            continue
        if _form(other) == _form(model):
            raise ValueError(f"{key} changes nothing in timm:{name}: leave it out")


def _form(model: nn.Module) -> list[Any]:
    """Shapes and settings of all parts of a network."""
    tensors = [(name, value.shape) for name, value in (*model.named_parameters(), *model.named_buffers())]
    plain = (bool, int, float, str, tuple, list)
    settings = [
        (name, key, repr(value))
        for name, part in model.named_modules()
        for key, value in sorted(vars(part).items())
        if isinstance(value, plain)
    ]
    return [*tensors, *settings]


def _check_first_patches(name: str, model: nn.Module, image_size: int) -> None:
    """`_check_patches`, of those that a model begins with, whatever it calls them; they may overlap."""
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if type(first) is nn.Conv2d and first.padding == (0, 0):  # others fill up the border
        _check_patches(name, image_size, first.kernel_size[0], step=first.stride[0])


def _check_patches(name: str, image_size: int, patch_size: int, *, step: int = 0) -> None:
    """Refuse patches that do not fill the image: many models leave the rest of it out and say nothing."""
    if (image_size - patch_size) % (step or patch_size):
        raise ValueError(
            f"timm:{name}: patches of patch_size={patch_size} do not fill images of image_size={image_size}: take "
            "sizes that divide"
        )


def _replace_first_convolution(model: nn.Module, in_channels: int) -> None:
    first = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
    first.in_channels = in_channels
    first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, in_channels, *first.kernel_size))
    first.reset_parameters()


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


def _unknown(library: str, name: str, names: Iterable[str]) -> ValueError:
    return ValueError(f"{library} has no model {name!r} (see its list_models()); {near(name, names)}")
