"""GridMix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from alignmixup.functional.interpolation import cell_mask
from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class GridMixDraw(Draw):
    """Draw of GridMix; ``lam`` is the exact share of pixels in cells of the first example.

    Attributes:
        cells: (B, n, n) bool, whether a cell shows the first example.
    """

    cells: Tensor


@dataclass(eq=False, kw_only=True)
class GridMix(RegionMixer):
    """Cut both images into the same grid and show each cell of the one or the other; labels follow the exact areas.

    The paper also trains a second classifier to name each cell; that loss is not built.

    Source:
        Baek, Bang, Shim, GridMix: Strong Regularization Through Local Context Mapping, Pattern Recognition 109, 2021.
    """

    grid: int = option(4, "cells on a side n; where n does not divide a side, cells differ by a pixel", minimum=1)

    def draw(self, x: Tensor, target: Tensor) -> GridMixDraw:
        """Draw partners, λ, and which cells show the first example: round(λ n²) of them, any with equal chances."""
        batch, _, height, width = self.check_images(x)
        if self.grid > min(height, width):
            raise ValueError(f"grid={self.grid} is finer than images of {height} x {width} pixels: use a smaller grid")
        perm = self.draw_perm(batch)
        count, number = 1 if self.lam_per == "batch" else batch, self.grid**2
        places = torch.rand(count, number, dtype=torch.float64, device="cpu", generator=self.generator)
        kept = (self.draw_lam(perm)[:count, None] * number).round()
        cells = (places.argsort(1).argsort(1) < kept).view(count, self.grid, self.grid).expand(batch, -1, -1)
        if self.lam_per == "pair":
            cells = cells[perm.minimum(perm[perm])]
        # pixels of each row and column of cells
        rows, columns = ((torch.arange(side, device="cpu") * self.grid // side).bincount() for side in (height, width))
        lam = ((cells * rows[:, None] * columns).sum((1, 2)).double() / (height * width)).float()
        return GridMixDraw(
            lam=to_device(lam, x.device), perm=to_device(perm, x.device), cells=to_device(cells, x.device)
        )

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Show the partners' cells and mix the labels by area."""
        draw = self.expect(GridMixDraw, draw)
        return self.shown(x, target, draw, cell_mask(draw.cells, *x.shape[2:]), masks=masks)
