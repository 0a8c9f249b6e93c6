"""Encoders and decoders of style autoencoders: an orthonormal transform, stages of a classifier, VGG-19.

An encoder maps images in [0, 1] to a tuple of feature maps, finest first; the last is what is mixed and decoded.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.models.preact_resnet import PreActResNet18, Variant
from alignmixup.models.sizes import check_sizes

__all__ = ["PatchDecoder", "PatchEncoder", "ResidualDecoder", "ResidualEncoder", "VggDecoder", "VggEncoder"]

VGG_SIZE = 224
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_POOL = 0


class PatchEncoder(nn.Module):
    """Discrete cosine transform of the pixels and colours of each patch: orthonormal, so nothing is lost or learned.

    A channel is a spatial frequency within the patch (>= 2 pixels a side), of the brightness or of a colour difference.
    Sides that the patch does not divide are padded by repetition.
    """

    def __init__(self, *, patch: int) -> None:
        super().__init__()
        check_sizes(patch=patch)
        self.patch = patch

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        rows, columns = (-side % self.patch for side in images.shape[2:])
        padded = F.pad(images, (0, columns, 0, rows), mode="replicate") if rows or columns else images
        channels = F.pixel_unshuffle(padded, self.patch)
        return (_transform(channels, self.patch, inverse=False),)


class PatchDecoder(nn.Module):
    """Inverse of `PatchEncoder`."""

    def __init__(self, *, patch: int) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(_transform(features, self.patch, inverse=True), self.patch)


class _Normalized(nn.Module):
    """An encoder that normalises images, and divides each map by its root mean square over the data."""

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, maps: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.ones(maps))

    def scaled(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(map_ / scale for map_, scale in zip(maps, self.scale.unbind(), strict=True))


class ResidualEncoder(_Normalized):
    """Stem and first stages of a `PreActResNet18`, each map divided by its root mean square over the data.

    The convolutions pad by repetition, where those of the network pad by zeros.

    Args:
        stages: stages to keep, in [1, 4].
        mean: of each channel, in [0, 1] units: the images are normalised here.
        std: of each channel, in [0, 1] units.
        width, variant, stem_stride, strides, in_channels: of the network.
    """

    def __init__(
        self,
        *,
        stages: int,
        mean: Sequence[float],
        std: Sequence[float],
        width: int = 64,
        variant: Variant = "A",
        stem_stride: int = 1,
        strides: Sequence[int] = (1, 2, 2, 2),
        in_channels: int = 3,
    ) -> None:
        if stages not in (1, 2, 3, 4):
            raise ValueError(f"stages must be 1, 2, 3 or 4, got {stages!r}")
        super().__init__(mean, std, maps=stages + 1)
        network = PreActResNet18(
            1, width=width, variant=variant, stem_stride=stem_stride, strides=strides, in_channels=in_channels
        )
        self.stem = network.stem
        for number in range(1, stages + 1):
            self.add_module(f"stage{number}", getattr(network, f"stage{number}"))
        _repeat_borders(self)
        self.stages = stages
        self.widths = [width, width, 2 * width, 4 * width, 8 * width][: stages + 1]
        self.strides = [stem_stride, *strides[:stages]]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [self.stem((images - self.mean) / self.std)]
        for number in range(1, self.stages + 1):
            maps.append(getattr(self, f"stage{number}")(maps[-1]))
        return self.scaled(maps)


class ResidualDecoder(nn.Module):
    """Mirror of `ResidualEncoder`: a residual block for each of its maps, nearest-neighbour enlargement between.

    It has no normalisation, which would take the style away. ``widths`` and ``strides`` are the encoder's.
    """

    def __init__(self, *, widths: Sequence[int], strides: Sequence[int], out_channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        targets = [widths[0], *widths[:-1]]
        for width, target, stride in reversed(list(zip(widths, targets, strides, strict=True))):
            parts.append(_Residual(width))
            if stride > 1:
                parts.append(nn.Upsample(scale_factor=stride))
            if target != width:
                parts.append(nn.Conv2d(width, target, 3, padding=1))
        self.layers = nn.Sequential(*parts, nn.ReLU(), nn.Conv2d(widths[0], out_channels, 3, padding=1))
        _repeat_borders(self)

    def forward(self, features: Tensor) -> Tensor:
        images: Tensor = self.layers(features)
        return images


class VggEncoder(_Normalized):
    """VGG-19 up to relu4_1 at 224 pixels, with reflection padding; maps of relu1_1, relu2_1, relu3_1 and relu4_1.

    Source:
        Simonyan and Zisserman, ICLR 2015; Huang and Belongie, AdaIN, ICCV 2017, for padding and choice of layers. Their
        weights are rescaled so that activations have unit mean; here they are torchvision's, and each map is divided
        by its root mean square over the data.
    """

    def __init__(self) -> None:
        super().__init__(_IMAGENET_MEAN, _IMAGENET_STD, maps=4)
        plan = [64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, 256, _POOL, 512]
        self.layers = nn.ModuleList(_vgg_layers(plan, 3))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if images.shape[1] != 3:
            raise ValueError(f"the VGG-19 encoder takes RGB images, got {images.shape[1]} channels")
        x = (resize(images, (VGG_SIZE, VGG_SIZE)) - self.mean) / self.std
        taps = []
        opens_stage = True
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                x = F.relu(x)
                if opens_stage:
                    taps.append(x)
            opens_stage = not isinstance(layer, nn.Conv2d)
        return self.scaled(taps)

    def load_torchvision(self, state: dict[str, Tensor]) -> None:
        """Take over the convolutions of a state dict of torchvision's ``vgg19``."""
        names = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
        for layer, number in zip(convolutions, names, strict=False):
            layer.load_state_dict({key: state[f"features.{number}.{key}"] for key in ("weight", "bias")})


class VggDecoder(nn.Module):
    """Mirror of `VggEncoder`, with nearest-neighbour enlargement and reflection padding: 28x28 maps to 224x224 images.

    Source:
        Huang and Belongie, AdaIN, ICCV 2017, section 6.1.
    """

    def __init__(self) -> None:
        super().__init__()
        plan = [256, _POOL, 256, 256, 256, 128, _POOL, 128, 64, _POOL, 64]
        parts: list[nn.Module] = []
        for layer in _vgg_layers(plan, 512):
            parts += [layer, nn.ReLU()] if isinstance(layer, nn.Conv2d) else [nn.Upsample(scale_factor=2)]
        self.layers = nn.Sequential(*parts, _reflecting(64, 3))

    def forward(self, features: Tensor) -> Tensor:
        images: Tensor = self.layers(features)
        return images


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + residual


def _repeat_borders(module: nn.Module) -> None:
    """Let convolutions pad by repetition: zeros mark the border, and restyling would make a frame of the mark."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.padding != (0, 0):
            layer.padding_mode = "replicate"


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale images bilinearly, corners not aligned and without antialiasing, as the published code does.

    From 32 pixels to 224 and back it is the identity: each pixel is read where it was put.
    """
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def _vgg_layers(plan: Sequence[int], channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in plan:
        if width == _POOL:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        else:
            layers.append(_reflecting(channels, width))
            channels = width
    return layers


def _reflecting(channels: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")


def _transform(channels: Tensor, patch: int, *, inverse: bool) -> Tensor:
    """Cosine transform of (B, C p p, h, w) along C, p and p."""
    size, _, height, width = channels.shape
    with torch.autocast(channels.device.type, enabled=False):  # in half precision the inverse would not be one
        blocks = channels.float().reshape(size, -1, patch, patch, height, width)
        for axis in (1, 2, 3):
            basis = _cosines(blocks.shape[axis], blocks.device)
            blocks = torch.tensordot(blocks, basis.T if inverse else basis, dims=([axis], [1])).movedim(-1, axis)
        return blocks.reshape(size, -1, height, width)


def _cosines(size: int, device: torch.device) -> Tensor:
    """Orthonormal cosine basis, one frequency per row; for three colours: grey, red - blue, and both against green."""
    index = torch.arange(size, dtype=torch.float32, device=device)
    basis = torch.cos(math.pi / size * (index[None] + 0.5) * index[:, None]) * math.sqrt(2 / size)
    basis[0] *= math.sqrt(0.5)
    return basis
