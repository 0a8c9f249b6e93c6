"""Random numbers of images: each image has a stream of its own, so that no batch matters."""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alignmixup.data.order import mix_seed
from alignmixup.outside import require


class Draws:
    """One stream of random numbers for each of B images.

    A stream depends on (seed, purpose, severity, number of the image) alone: the batch that an image comes in and the
    other kinds change nothing. ``purpose`` tells the streams of different uses apart: the name of the corruption;
    ``numbers`` are those of the images in their data set, >= 0.
    """

    def __init__(self, *, seed: int, purpose: str, severity: int, numbers: Sequence[int]) -> None:
        random = require("numpy").random
        stream = mix_seed(seed, zlib.crc32(purpose.encode()), severity)
        # Philox takes its key as it is; hashing a SeedSequence would cost more than the numbers of a small image
        self._streams: list[Any] = [random.Generator(random.Philox(key=[stream, number])) for number in numbers]

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) float32, N(0, 1)."""
        return self._floats("standard_normal", shape)

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32, uniform on [0, 1)."""
        return self._floats("random", shape)

    def _floats(self, method: str, shape: tuple[int, ...]) -> Tensor:
        drawn = torch.empty(len(self), *shape)
        for stream, part in zip(self._streams, drawn.view(len(self), -1).numpy(), strict=True):
            getattr(stream, method)(dtype="float32", out=part)
        return drawn

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """(B, *shape) int64, uniform on low, ..., high - 1."""
        drawn = torch.empty(len(self), *shape, dtype=torch.int64)
        for stream, part in zip(self._streams, drawn, strict=True):
            part.copy_(torch.from_numpy(stream.integers(low, high, (1, *shape)))[0])
        return drawn

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson numbers of the rates given, float32 of the shape of ``rate`` (B, ...)."""
        drawn = torch.empty(rate.shape)
        for stream, part, rates in zip(self._streams, drawn, rate.numpy(), strict=True):
            part.copy_(torch.from_numpy(stream.poisson(rates)))
        return drawn
