"""TokenMix."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.options import option

_TRIES = 10  # of placing a rectangle, as published
_LEAST_ASPECT = 0.3  # sides of a rectangle, as published


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenMixDraw(Draw):
    """Draw of TokenMix; ``lam`` is the exact share of pixels in tokens of the first example.

    Attributes:
        tokens: (B, h, w) bool, whether a token shows the first example.
        patch: side of a token's patch in pixels.
    """

    tokens: Tensor
    patch: int


@dataclass(eq=False, kw_only=True)
class TokenMix(RegionMixer):
    """Replace several separate parts of each image, cut along the patches of a vision transformer, by the partner's.

    Labels follow the exact areas. The paper weighs them by the activation maps of a trained teacher; that is not built.

    Source:
        Liu, Liu, Zhou, Li, Liu, TokenMix: Rethinking Image Mixing for Data Augmentation in Vision Transformers, ECCV
        2022 (arXiv 2207.08409), and its published code.
    """

    share: float = option(
        0.0,
        "share of the tokens that the partner fills, in [0, 1); with 0 it is drawn: 1 - λ",
        paper="112 of 14 x 14 in the code: 0.57",
        minimum=0,
        below=1,
    )
    alpha: float = option(1.0, "parameter of λ ~ Beta(α, α), which is drawn where share is 0", paper="1.0, not used")
    shape: Literal["blocks", "random"] = option(
        "blocks", 'what is filled: rectangles of tokens ("blocks"), or any tokens ("random")', paper='"blocks"'
    )
    patch: int | None = option(
        None, "side of a patch in pixels; None for that of the model's patch embedding", paper="16", minimum=1
    )

    def _check_options(self) -> None:
        super()._check_options()
        if self._side is None:
            raise ValueError(
                "TokenMix needs to know the patches: give it a model with a patch embedding (a first convolution whose "
                "stride is its size), as TokenMix(model, ...), or their side in pixels, as TokenMix(patch=16, ...)"
            )

    @property
    def _side(self) -> int | None:
        return self.patch or (None if self.model is None else patch_size(self.model))

    def draw(self, x: Tensor, target: Tensor) -> TokenMixDraw:
        """Draw partners, how many tokens the partner fills, and which."""
        batch, _, height, width = self.check_images(x)
        side = self._side
        assert side is not None
        grid = math.ceil(height / side), math.ceil(width / side)
        perm = self.draw_perm(batch)
        number = 1 if self.lam_per == "batch" else batch
        share = (
            torch.full((number,), self.share, dtype=torch.float32, device="cpu")
            if self.share
            else 1 - self.draw_lam(perm)[:number]
        )
        counts = (share * grid[0] * grid[1]).round().long().tolist()
        fill = self._blocks if self.shape == "blocks" else self._random
        tokens = torch.stack([~fill(grid, count) for count in counts]).expand(batch, -1, -1)
        if self.lam_per == "pair":
            tokens = tokens[perm.minimum(perm[perm])]
        lam = token_mask(tokens, side, height, width).float().mean((1, 2))
        lam, perm, tokens = (to_device(drawn, x.device) for drawn in (lam, perm, tokens))
        return TokenMixDraw(lam=lam, perm=perm, tokens=tokens, patch=side)

    def _random(self, grid: tuple[int, int], count: int) -> Tensor:
        order = torch.rand(grid[0] * grid[1], dtype=torch.float64, device="cpu", generator=self.generator).argsort()
        return (order.argsort() < count).view(grid)

    def _blocks(self, grid: tuple[int, int], count: int) -> Tensor:
        """Fill rectangles one after the other, none of which adds more than is still to fill, until one finds no place.

        Areas are uniform between 1 and what is left, sides log-uniform in proportion; a row is a number of bits.
        """
        height, width = grid
        rows, numbers = [0] * height, self._numbers()
        left, tries = count, _TRIES
        while left and tries:
            area = 1 + next(numbers) * (left - 1)
            aspect = _LEAST_ASPECT ** (2 * next(numbers) - 1)
            tall = min(max(round(math.sqrt(area * aspect)), 1), height)
            wide = min(max(round(math.sqrt(area / aspect)), 1), width)
            top, first = int(next(numbers) * (height - tall + 1)), int(next(numbers) * (width - wide + 1))
            bits = ((1 << wide) - 1) << first
            added = sum((bits & ~row).bit_count() for row in rows[top : top + tall])
            if 0 < added <= left:
                rows[top : top + tall] = [row | bits for row in rows[top : top + tall]]
                left, tries = left - added, _TRIES
            else:
                tries -= 1
        return torch.tensor([[bool(row >> column & 1) for column in range(width)] for row in rows], device="cpu")

    def _numbers(self) -> Iterator[float]:
        """Numbers in [0, 1) from the batch's stream, without end."""
        while True:
            yield from torch.rand(64, dtype=torch.float64, device="cpu", generator=self.generator).tolist()

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Show the partners' tokens and mix the labels by area."""
        draw = self.expect(TokenMixDraw, draw)
        _, _, height, width = self.check_images(x)
        return self.shown(x, target, draw, token_mask(draw.tokens, draw.patch, height, width), masks=masks)


def token_mask(tokens: Tensor, side: int, height: int, width: int) -> Tensor:
    """Spread tokens (B, h, w) over an image in patches of ``side`` pixels, the last of which may be cut: (B, H, W)."""
    for axis, pixels in ((1, height), (2, width)):
        tokens = tokens.index_select(axis, torch.arange(pixels, device=tokens.device) // side)
    return tokens


def patch_sides(model: nn.Module) -> tuple[int, int] | None:
    """Find the sides of the patches that a model embeds: the stride of its first convolution, if that is its size."""
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None or convolution.kernel_size != convolution.stride:
        return None
    height, width = convolution.stride
    return height, width


def patch_size(model: nn.Module) -> int | None:
    """Find the side of the patches that a model embeds, if they are square and larger than a pixel."""
    height, width = patch_sides(model) or (0, 0)
    return height if height == width > 1 else None
