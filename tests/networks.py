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


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        seen = self.norm1(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class TinyTransformer(nn.Module):
    """A vision transformer of two blocks that classifies by its class token, for images of any size."""

    def __init__(self, num_classes: int, patch: int = 4, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.stage1, self.stage2 = _Block(width), _Block(width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1)
        return self.head(self.norm(self.stage2(self.stage1(tokens)))[:, 0])


def fitting(method: str, usual: nn.Module) -> nn.Module:
    """The usual network, or where a method asks a class token, one of the same number of classes that has it."""
    *_, last = (module for module in usual.modules() if isinstance(module, nn.Linear))
    return TinyTransformer(last.out_features) if method == "transmix" else usual


# options that methods cannot do without in a network without a patch embedding
NEEDED = {"tokenmix": {"patch": 4}}
