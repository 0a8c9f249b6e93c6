"""Networks that are small enough for hundreds of tests."""

from collections import OrderedDict

import torch
from torch import nn

from alignmixup.models import PreActResNet18


def shallow_resnet(num_classes: int, **options: object) -> PreActResNet18:
    """A PreActResNet with one block a stage: the layers and names of the whole one, in half the time."""
    torch.manual_seed(0)
    net = PreActResNet18(num_classes, **{"width": 4, "final_norm": True, **options})
    for stage in (net.stage1, net.stage2, net.stage3, net.stage4):
        del stage[1]
    return net


def plain_net(num_classes: int, width: int = 4) -> nn.Sequential:
    """The same names with a convolution a stage: what is compiled is traced again and again."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"stem": nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())}
    for stage, stride in enumerate((1, 2, 2, 2)):
        channels = width * 2 ** max(stage - 1, 0), width * 2**stage
        convolution = nn.Conv2d(*channels, 3, stride=stride, padding=1)
        layers[f"stage{stage + 1}"] = nn.Sequential(convolution, nn.BatchNorm2d(channels[1]), nn.ReLU())
    layers["norm"] = nn.Sequential(nn.BatchNorm2d(channels[1]), nn.ReLU())  # so that positions of the last map count
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(8 * width, num_classes)}
    return nn.Sequential(OrderedDict(layers))
