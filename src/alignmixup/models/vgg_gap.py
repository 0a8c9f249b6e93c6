"""VGG-GAP: VGG-16 whose classifier is replaced by one convolution, global average pooling and a linear layer.

The network knows nothing of mixing: layers are reached from outside, by the names ``features``, ``extra``, ``pool`` and
``head``. The output of ``extra`` is what the pooling receives, and what class activation maps are made of.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from alignmixup.models.sizes import check_each, check_sizes
from alignmixup.models.weights import download_weights, read_weights
from alignmixup.outside import require

__all__ = ["VGG16GAP"]

_CONVOLUTIONS = (2, 2, 3, 3, 3)
_WIDTH = 64


class VGG16GAP(nn.Module):
    """VGG-16 without batch normalisation for localisation, whose fifth max-pooling is left out.

    13 convolutions, ReLU after each, and max-pooling after the first ``pools`` blocks, so that 224-pixel images end in
    14x14 positions; then a new 3x3 convolution with ReLU, global average pooling and one linear layer. No dropout.

    Convolutions start from Kaiming's normal law (fan-out, ReLU) with biases 0, the linear layer from N(0, 0.01) with
    biases 0.

    Args:
        num_classes: outputs of ``head``, >= 1.
        pretrained: start the 13 convolutions of ``features`` from torchvision's VGG-16 (downloaded once).
        weights: path of a VGG-16's state dict (.pth or .safetensors) to take them from instead.
        width: channels of the first block; the others have 2, 4, 8 and 8 times as many, ``extra`` 16 times. VGG-16: 64.
        convolutions: convolutions of each of the five blocks. VGG-16: (2, 2, 3, 3, 3).
        pools: 2x2 max-poolings, after the first so many blocks, 1 to 5. 4 as usual; 3 gives the large map, 28x28 at 224
            pixels, or 8x8 at 64.
        in_channels: channels of the images.

    Raises:
        ValueError: an option out of range, or weights that do not fit (published ones need the usual sizes).
        FileNotFoundError: weights neither here nor to be downloaded.

    Source:
        Zhou et al., Learning deep features for discriminative localization, CVPR 2016, in the form of Choe et al.,
        Evaluating weakly supervised object localization methods right, CVPR 2020.

    Example:
        >>> import torch
        >>> from alignmixup.models import VGG16GAP
        >>> model = VGG16GAP(10, width=4, convolutions=(1, 1, 1, 1, 1))
        >>> model.extra(model.features(torch.zeros(2, 3, 224, 224))).shape
        torch.Size([2, 64, 14, 14])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        pretrained: bool = False,
        weights: str | Path | None = None,
        width: int = _WIDTH,
        convolutions: Sequence[int] = _CONVOLUTIONS,
        pools: int = 4,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(num_classes=num_classes, width=width, in_channels=in_channels, pools=pools)
        if pools > 5:
            raise ValueError(f"pools must be at most 5, one for each block, got {pools}")
        check_each("convolutions", convolutions, count=5, of="block")
        shape = (width, tuple(convolutions), in_channels)
        if pretrained and weights is None and shape != (_WIDTH, _CONVOLUTIONS, 3):
            raise ValueError(
                f"pretrained weights are for width {_WIDTH}, convolutions {_CONVOLUTIONS} and 3 channels, got "
                f"{width}, {tuple(convolutions)} and {in_channels}"
            )
        layers: list[nn.Module] = []
        channels = in_channels
        for block, (count, factor) in enumerate(zip(convolutions, (1, 2, 4, 8, 8), strict=True)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, factor * width, 3, padding=1), nn.ReLU()]
                channels = factor * width
            if block < pools:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.extra = nn.Sequential(nn.Conv2d(channels, 16 * width, 3, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16 * width, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        if weights is not None:
            self._load_convolutions(read_weights(weights))
        elif pretrained:
            self._load_convolutions(download_weights(require("torchvision.models").VGG16_Weights.IMAGENET1K_V1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.extra(self.features(x))
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits

    def head_parameters(self) -> list[nn.Parameter]:
        """What no pretrained weights exist for: ``extra`` and ``head``; recipes train it at a larger rate."""
        return [*self.extra.parameters(), *self.head.parameters()]

    def _load_convolutions(self, state: Mapping[str, Tensor]) -> None:
        """Start ``features`` from a VGG's convolutions, in their order: its poolings shift the numbers in the names."""
        own = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        found = [re.fullmatch(r"features\.(\d+)\.weight", key) for key, value in state.items() if value.ndim == 4]
        names = [f"features.{number}" for number in sorted(int(match[1]) for match in found if match)]
        shapes = [tuple(layer.weight.shape) for layer in own]
        given = [tuple(state[f"{name}.weight"].shape) for name in names]
        if given != shapes or any(f"{name}.bias" not in state for name in names):
            raise ValueError(
                f"the weights do not fit: {len(own)} convolutions with biases are expected, from {shapes[0]} to "
                f"{shapes[-1]}; there are {len(given)}" + (f", from {given[0]} to {given[-1]}" if given else "")
            )
        with torch.no_grad():
            for layer, name in zip(own, names, strict=True):
                layer.weight.copy_(state[f"{name}.weight"])
                cast(Tensor, layer.bias).copy_(state[f"{name}.bias"])
