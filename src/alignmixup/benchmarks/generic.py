"""Small classifiers of series and volumes, as papers describe them, to try hidden mixing on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class InceptionTime(nn.Module):
    """Parallel convolutions of three lengths beside a pooled one, with shortcuts around each three blocks.

    Source:
        Ismail Fawaz et al., InceptionTime, 2020; narrower here.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 8, depth: int = 6) -> None:
        super().__init__()
        sizes = [channels, *[4 * width] * depth]
        self.blocks = nn.ModuleList(_Inception(sizes[i], width) for i in range(depth))
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(sizes[i], 4 * width, 1), nn.BatchNorm1d(4 * width)) for i in range(0, depth, 3)
        )
        self.acts = nn.ModuleList(nn.ReLU(inplace=True) for _ in self.shortcuts)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify series (B, C, T)."""
        kept = x
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number % 3 == 2:
                x = kept = self.acts[number // 3](x + self.shortcuts[number // 3](kept))
        logits: Tensor = self.head(x.mean(2))
        return logits


class _Inception(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(channels, width, 1, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, size, padding="same", bias=False) for size in (39, 19, 9)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(channels, width, 1, bias=False))
        self.norm, self.act = nn.BatchNorm1d(4 * width), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.narrow(x)
        parts = [*(convolution(narrow) for convolution in self.convolutions), self.pooled(x)]
        out: Tensor = self.act(self.norm(torch.cat(parts, 1)))
        return out


class ResNet(nn.Module):
    """Residual blocks over one or three axes of positions, of three stages."""

    def __init__(self, axes: int, channels: int, classes: int, *, width: int = 16) -> None:
        super().__init__()
        convolution, norm = (nn.Conv1d, nn.BatchNorm1d) if axes == 1 else (nn.Conv3d, nn.BatchNorm3d)
        self.stem = nn.Sequential(convolution(channels, width, 3, padding=1), norm(width), nn.ReLU(inplace=True))
        sizes = (width, width, 2 * width, 4 * width)
        self.stages = nn.ModuleList(_Residual(convolution, norm, sizes[i], sizes[i + 1], 1 + (i > 0)) for i in range(3))
        self.pool, self.head = (
            (nn.AdaptiveAvgPool1d if axes == 1 else nn.AdaptiveAvgPool3d)(1),
            nn.Linear(sizes[-1], classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Classify (B, C, positions...)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits


class _Residual(nn.Module):
    def __init__(
        self, convolution: Callable[..., nn.Module], norm: Callable[..., nn.Module], a: int, b: int, stride: int
    ) -> None:
        super().__init__()
        self.one, self.two = convolution(a, b, 3, stride=stride, padding=1), convolution(b, b, 3, padding=1)
        self.norms, self.act = nn.ModuleList([norm(b), norm(b)]), nn.ReLU(inplace=True)
        self.short = convolution(a, b, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norms[1](self.two(self.act(self.norms[0](self.one(x)))))
        out += self.short(x)
        mixed: Tensor = self.act(out)
        return mixed


class Recurrent(nn.Module):
    """A bidirectional LSTM or GRU over series, read at its last step."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], channels: int, classes: int, *, width: int = 16) -> None:
        super().__init__()
        self.embed, self.cells = nn.Conv1d(channels, width, 5, stride=2), kind(width, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify series (B, C, T)."""
        states, _ = self.cells(self.embed(x).relu().mT)
        logits: Tensor = self.head(states[:, -1])
        return logits
