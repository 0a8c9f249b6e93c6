"""PreActResNet-18 in the two forms that the literature calls by the same name.

The network knows nothing of mixing: hidden layers are reached from outside, by the names ``stem``, ``stage1``
to ``stage4``, ``norm``, ``pool`` and ``head``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.models.sizes import check_each, check_sizes
from alignmixup.options import About

__all__ = ["PreActBlock", "PreActResNet18", "StridedPointwise"]

Variant = Literal["A", "B"]


class StridedPointwise(nn.Conv2d):
    """1x1 convolution with a stride, which picks its pixels first on a CPU.

    oneDNN's own (as of 3.13) writes beyond its scratch memory in the backward pass, where images are channels-last and
    have fewer channels than a vector: processes crash some time later.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias)


class PreActBlock(nn.Module):
    """Pre-activation basic block: BN, ReLU, 3x3 convolution, twice, plus a shortcut.

    With a change of shape the shortcut is a 1x1 convolution (no BN) of the activated tensor relu(bn1(x)), in
    both variants. Otherwise variant A carries that activated tensor and variant B the raw input.

    Source:
        A: the PreActResNet-18 of the mixup-cifar10 and AlignMixup repositories; B: of manifold_mixup, Puzzle
        Mix and Co-Mixup.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, variant: Variant) -> None:
        super().__init__()
        self.carries_raw_input = variant == "B"
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = StridedPointwise(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        carried = x if self.carries_raw_input else activated
        if self.shortcut is not None:
            carried = self.shortcut(activated)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + carried


class PreActResNet18(nn.Module):
    """PreActResNet-18: four stages of two pre-activation blocks, global average pooling, one linear layer.

    Neither published variant has a BN and ReLU between the last stage and the pooling, so that the last map
    is a raw sum; ``final_norm=True`` adds them (a deviation). Weights start from PyTorch's defaults, as in
    the reference networks.

    Args:
        num_classes: outputs of ``head``, >= 1; the options stand in the signature.

    Raises:
        ValueError: an option out of range.

    Example:
        >>> import torch
        >>> from alignmixup.models import PreActResNet18
        >>> PreActResNet18(10, width=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        variant: Annotated[
            Variant,
            About(
                help='"A" has conv, BN, ReLU as stem and identity shortcuts that carry the activated tensor; "B" has a '
                "bare convolution as stem and shortcuts that carry the block's input; papers: A for input mixup and "
                "AlignMixup, B for Manifold mixup, Puzzle Mix and Co-Mixup"
            ),
        ] = "A",
        width: Annotated[
            int, About(help="channels of the first stage; the others have 2, 4 and 8 times as many; papers: 64")
        ] = 64,
        stem_stride: Annotated[
            int,
            About(
                help="stride of the first convolution; papers: 1; 2 for B on Tiny-ImageNet, which costs a quarter of "
                "A's arithmetic there: such numbers are not comparable"
            ),
        ] = 1,
        strides: Annotated[
            Sequence[int],
            About(
                help="stride of each stage; papers: (1, 2, 2, 2); images under 16x16 need smaller ones to keep a last "
                "map of more than one position: (1, 2, 1, 1) turns 8x8 digits into a 4x4 map"
            ),
        ] = (1, 2, 2, 2),
        final_norm: Annotated[bool, About(help="BN and ReLU (norm) before the pooling; papers: False")] = False,
        in_channels: Annotated[int, About(help="channels of the images")] = 3,
    ) -> None:
        super().__init__()
        if variant not in ("A", "B"):
            raise ValueError(f'variant must be "A" or "B", got {variant!r}')
        check_sizes(num_classes=num_classes, width=width, stem_stride=stem_stride, in_channels=in_channels)
        check_each("strides", strides, count=4, of="stage")
        stem = nn.Conv2d(in_channels, width, 3, stride=stem_stride, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU()) if variant == "A" else stem
        self.stage1 = _stage(width, width, stride=strides[0], variant=variant)
        self.stage2 = _stage(width, 2 * width, stride=strides[1], variant=variant)
        self.stage3 = _stage(2 * width, 4 * width, stride=strides[2], variant=variant)
        self.stage4 = _stage(4 * width, 8 * width, stride=strides[3], variant=variant)
        self.norm = nn.Sequential(nn.BatchNorm2d(8 * width), nn.ReLU()) if final_norm else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        logits: Tensor = self.head(self.pool(self.norm(x)).flatten(1))
        return logits


def _stage(in_channels: int, out_channels: int, *, stride: int, variant: Variant) -> nn.Sequential:
    first = PreActBlock(in_channels, out_channels, stride=stride, variant=variant)
    return nn.Sequential(first, PreActBlock(out_channels, out_channels, stride=1, variant=variant))
