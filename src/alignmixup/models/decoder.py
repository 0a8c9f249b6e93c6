"""A decoder from any feature map of a classifier back to its images."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.models.sizes import check_sizes

__all__ = ["FeatureDecoder"]

Size = tuple[int, int]


class FeatureDecoder(nn.Module):
    """Residual decoder: from a feature map (B, C, h, w) to images (B, out_channels, H, W).

    From one level to the next a 1x1 convolution halves the channels and its outputs are rearranged to twice the sides;
    a pre-activation residual block refines. The path past those blocks is linear from the map to the image, with no
    normalisation that would take an image's own brightness and contrast from it; the map as a whole is brought to unit
    scale first. All levels cost about the same. Normalisation does not depend on the batch and has no running
    statistics, and upsampling starts as nearest neighbour, so that it leaves no checkerboard. Weights are scaled so
    that the decoder can be trained with SGD at a classifier's learning rate, and the first images are all zeros.

    Convention:
        - the last convolution is linear: images come in whatever units it is trained for, normalised ones best.

    Args:
        in_channels: channels C of the map.
        feature_size: sides (h, w) of the map.
        image_size: sides (H, W) of the images; at least those of the map, about as many times one way as the other.
        out_channels: channels of the images.
        width: channels at the images' resolution; each coarser level has twice as many, up to ``in_channels``.
            24 makes 416,347 parameters from a (512, 4, 4) map to 32 x 32 images.

    Raises:
        ValueError: an option out of range, or a map that does not have the images' proportions.

    Source:
        Residual blocks: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016. Group normalisation: Wu and
        He, ECCV 2018. Upsampling: Shi et al., CVPR 2016, started as in Aitken et al., Checkerboard artifact free
        sub-pixel convolution, 2017. Scaled weights: Karras et al., Progressive Growing of GANs, ICLR 2018, section 4.1.

    Example:
        >>> import torch
        >>> from alignmixup.models.decoder import FeatureDecoder
        >>> FeatureDecoder(64, (4, 4), (32, 32), width=8)(torch.zeros(2, 64, 4, 4)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, in_channels: int, feature_size: Size, image_size: Size, *, out_channels: int = 3, width: int = 24
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels, width=width)
        self.in_channels, self.feature_size, self.image_size = in_channels, feature_size, image_size
        sizes = level_sizes(feature_size, image_size)
        channels = [min(width * 2**k, max(width, in_channels)) for k in reversed(range(len(sizes)))]
        self.entry = nn.Sequential(nn.GroupNorm(1, in_channels), _Conv(in_channels, channels[0], 1))
        self.levels = nn.Sequential(
            *(_Level(*pair, size=size) for pair, size in zip(pairwise(channels), sizes[1:], strict=True))
        )
        self.exit = _Conv(channels[-1], out_channels, 3)
        nn.init.zeros_(self.exit.weight)  # a random first image would send the encoder a blow and no information

    def forward(self, features: Tensor) -> Tensor:
        if tuple(features.shape[1:]) != (self.in_channels, *self.feature_size):
            raise ValueError(
                f"this decoder is made for maps (B, {self.in_channels}, {self.feature_size[0]}, "
                f"{self.feature_size[1]}), got {tuple(features.shape)}: images of another size need another decoder"
            )
        images: Tensor = self.exit(self.levels(self.entry(features)))
        return images


class _Conv(nn.Conv2d):
    """A convolution whose weights begin with variance 1 and are divided by the square root of their fan-in when used.

    The steps that a learning rate makes are then no larger in wide layers: the linear path bears the classifier's own
    rate, with which it would otherwise diverge.
    """

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__(in_channels, out_channels, side, padding=side // 2)
        self.scale = 1 / math.sqrt(in_channels * side**2)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class _Level(nn.Module):
    """Fewer channels and larger sides, then a residual block."""

    def __init__(self, in_channels: int, out_channels: int, *, size: Size) -> None:
        super().__init__()
        self.size = size
        self.enlarge = _Conv(in_channels, 4 * out_channels, 1)
        with torch.no_grad():  # the four pixels that come of a position start equal
            self.enlarge.weight.copy_(self.enlarge.weight[::4].repeat_interleave(4, dim=0))
        self.refine = nn.Sequential(*_activated_conv(out_channels), *_activated_conv(out_channels))
        last = self.refine[-1]
        assert isinstance(last, _Conv)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.enlarge(x), 2)
        if x.shape[2:] != self.size:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        refined: Tensor = x + self.refine(x)
        return refined


def level_sizes(feature_size: Size, image_size: Size) -> list[Size]:
    """Sides of each level, from the map's to the images', halved from the image down and rounded up.

    From one level to the next the sides double; where the images are no power of two times the map, the first step is
    the odd one.

    Raises:
        ValueError: a side is no positive integer, the map is larger than the images, or its proportions are not theirs.
    """
    for side in (*feature_size, *image_size):
        check_sizes(**{"sides of map and images": side})
    scales = [image / feature for feature, image in zip(feature_size, image_size, strict=True)]
    if min(scales) < 1:
        raise ValueError(f"a map of {_sides(feature_size)} is larger than images of {_sides(image_size)}")
    if max(scales) >= 2 * min(scales):
        raise ValueError(
            f"a map of {_sides(feature_size)} has not the proportions of images of {_sides(image_size)}: its positions "
            "are no grid over the image (tokens that fill no square are shown as a column); name another layer"
        )
    doublings = max(round(math.log2(max(scales))), int(max(scales) > 1))
    finer = [(-(-image_size[0] // 2**k), -(-image_size[1] // 2**k)) for k in reversed(range(doublings))]
    return [feature_size, *finer]


def _sides(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _activated_conv(channels: int) -> nn.Sequential:
    norm = nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Sequential(norm, nn.ReLU(), _Conv(channels, channels, 3))
