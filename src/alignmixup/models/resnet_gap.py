"""ResNet-50 with a larger last map, for localisation: torchvision's network, other strides."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import nn

from alignmixup.models.sizes import check_each, check_sizes
from alignmixup.models.weights import download_weights, load_except_head, read_weights
from alignmixup.outside import require

__all__ = ["build_resnet50_gap"]


def build_resnet50_gap(
    num_classes: int,
    *,
    strides: Sequence[int] = (1, 2, 2, 1),
    pretrained: bool = False,
    weights: str | Path | None = None,
    blocks: Sequence[int] = (3, 4, 6, 3),
    in_channels: int = 3,
) -> nn.Module:
    """ResNet-50 of torchvision (layers ``layer1`` to ``layer4``, ``avgpool``, ``fc``) with the strides of localisation.

    A stage's stride is that of its first block, of the 3x3 convolution and of the shortcut; nothing is dilated. The
    tensors are those of the usual network, so that its weights load unchanged. Convolutions start from Xavier's uniform
    law, the linear layer from N(0, 0.01) with biases 0.

    Args:
        num_classes: outputs of ``fc``, >= 1.
        strides: stride of each stage. (1, 2, 2, 1) ends in 14x14 positions at 224 pixels, (1, 2, 1, 1) in 28x28, the
            usual (1, 2, 2, 2) in 7x7.
        pretrained: start from the first weights that torchvision published (downloaded once); another head starts
            afresh.
        weights: path of a state dict to start from instead (.pth or .safetensors).
        blocks: blocks of each stage. ResNet-50: (3, 4, 6, 3); fewer for trials.
        in_channels: channels of the images; weights are for 3.

    Raises:
        ValueError: an option out of range, or weights that do not fit.
        FileNotFoundError: weights neither here nor to be downloaded.

    Source:
        Choe et al., Evaluating weakly supervised object localization methods right, CVPR 2020; Yun et al., CutMix, ICCV
        2019 (14x14).
    """
    check_sizes(num_classes=num_classes, in_channels=in_channels)
    check_each("strides", strides, count=4, of="stage")
    check_each("blocks", blocks, count=4, of="stage")
    resnet = require("torchvision.models.resnet")
    model = cast(nn.Module, resnet.ResNet(resnet.Bottleneck, list(blocks), num_classes=num_classes))
    if in_channels != 3:
        model.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    for number, stride in enumerate(strides, start=1):
        for name in ("conv2", "downsample.0"):
            cast(nn.Conv2d, model.get_submodule(f"layer{number}.0.{name}")).stride = (stride, stride)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    if weights is not None:
        load_except_head(model, read_weights(weights), num_classes)
    elif pretrained:
        published = require("torchvision.models").ResNet50_Weights.IMAGENET1K_V1
        load_except_head(model, download_weights(published), num_classes)
    return model
