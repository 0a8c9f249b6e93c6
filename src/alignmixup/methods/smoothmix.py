"""SmoothMix."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignmixup.functional.sampling import box_centres, to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class SmoothMixDraw(Draw):
    """Draw of SmoothMix; ``lam`` places the width of the spot between its limits, 1 at the least.

    Attributes:
        centre: (B, 2) int64 row and column of the pixel where the partner alone is seen.
    """

    centre: Tensor


@dataclass(eq=False, kw_only=True)
class SmoothMix(RegionMixer):
    """Fade the partner in around a random pixel, without an edge; labels follow the exact mean of the weights.

    At a distance d from the centre, in shares of the image's sides, the partner weighs exp(-d² / (2 σ²)).

    Source:
        Lee, Zaheer, Astrid, Lee, SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust Classifiers, CVPR
        Workshops 2020.
    """

    alpha: float = option(
        1.0, "σ is drawn between its limits by Beta(α, α); 1 is uniform", paper="uniform in the toolbox, so 1.0"
    )
    shape: Literal["circle", "square"] = option(
        "circle",
        'contours of the spot, stretched with the image: "circle", d the Euclidean distance, or "square", d the larger '
        "of the distances along rows and columns",
        paper="both",
    )
    least_sigma: float = option(0.25, "least σ, as a share of the image's sides", paper="0.25 in the toolbox", above=0)
    largest_sigma: float = option(0.5, "largest σ, likewise", paper="0.5 in the toolbox", above=0)

    def _check_options(self) -> None:
        super()._check_options()
        if self.least_sigma > self.largest_sigma:
            raise ValueError(f"least_sigma must be <= largest_sigma, got {self.least_sigma} and {self.largest_sigma}")

    def draw(self, x: Tensor, target: Tensor) -> SmoothMixDraw:
        """Draw partners, widths and centres."""
        batch, _, height, width = self.check_images(x)
        perm = self.draw_perm(batch)
        lam = self.draw_lam(perm).float()
        centres = box_centres(1 if self.lam_per == "batch" else batch, height, width, generator=self.generator)
        centres = centres.expand(batch, 2)
        if self.lam_per == "pair":
            centres = centres[perm.minimum(perm[perm])]
        return SmoothMixDraw(
            lam=to_device(lam, x.device), perm=to_device(perm, x.device), centre=to_device(centres, x.device)
        )

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Make the masks, fade the partners in, and mix the labels by the masks' means."""
        draw = self.expect(SmoothMixDraw, draw)
        sigma = self.largest_sigma - (self.largest_sigma - self.least_sigma) * draw.lam
        mask = 1 - spots(draw.centre, sigma, *x.shape[2:], shape=self.shape)
        return self.shown(x, target, draw, mask, lam=mask.mean((1, 2)), masks=masks)


def spots(centre: Tensor, sigma: Tensor, height: int, width: int, *, shape: str) -> Tensor:
    """Spots of 1 at a pixel (B, 2) that fade with widths σ (B,), in shares of the sides: (B, H, W) float32."""
    rows, columns = (
        (torch.arange(side, device=centre.device) - centre[:, axis, None]) / (side * sigma[:, None])
        for axis, side in enumerate((height, width))
    )
    join = torch.maximum if shape == "square" else torch.add
    return join(rows.square()[:, :, None], columns.square()[:, None, :]).div(-2).exp()
