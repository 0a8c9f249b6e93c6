"""PairMixer: base of the methods that mix each sample with one partner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignmixup.functional.interpolation import Box, as_float32, mix_pairs
from alignmixup.functional.sampling import (
    beta,
    box_centres,
    cutmix_box,
    matching,
    one_beta,
    one_box_centre,
    one_cutmix_box,
    permutation,
    to_device,
)
from alignmixup.methods.base.batch import Draw
from alignmixup.methods.base.mixer import Mixer
from alignmixup.options import option

LamPer = Literal["batch", "pair", "sample"]


@dataclass(eq=False, kw_only=True)
class PairMixer(Mixer):
    """Base of the methods that mix each sample with one partner; what it draws is λ and the partner."""

    alpha: float = option(
        1.0, "parameter of λ ~ Beta(α, α)", above=0, hint="to train without mixing use the baseline method"
    )
    alpha_end: Sequence[float] | None = option(
        None,
        "(α, epoch): α moves in equal steps from `alpha` in epoch 0 to this one in that epoch, and stays; tell the "
        "epoch with set_epoch",
        paper="constant",
        above=0,
    )
    lam_per: LamPer = option(
        "batch",
        'one λ for the whole "batch", one per "pair" (partners are then mutual), or one per "sample"',
        paper='"batch" in all published codes',
    )

    def _check_options(self) -> None:
        super()._check_options()
        end = self.alpha_end
        if end is not None and not (len(end) == 2 and float(end[1]).is_integer()):
            raise ValueError(f"alpha_end must be (α, epoch), such as (2.0, 100), got {end}")

    @property
    def current_alpha(self) -> float:
        """The α that λ is drawn with in this epoch."""
        if self.alpha_end is None:
            return self.alpha
        share = min(self._epoch_for("alpha_end") / self.alpha_end[1], 1.0)
        return self.alpha + share * (self.alpha_end[0] - self.alpha)

    def draw(self, x: Tensor, target: Tensor) -> Draw:
        """Draw partners and mixing coefficients."""
        perm, shared = self.draw_perm(x.shape[0]), {}
        if self.lam_per == "batch":
            one = as_float32(one_beta(self.current_alpha, generator=self.generator))
            lam, shared = torch.full(perm.shape, one, device="cpu", dtype=torch.float32), {"lam": one}
        else:
            lam = self.draw_lam(perm).float()
        return self.stream.vouch(Draw(lam=to_device(lam, x.device), perm=to_device(perm, x.device)), x, **shared)

    def draw_perm(self, size: int) -> Tensor:
        """Draw each sample's partner, (B,) int64 on the CPU; partners are mutual with one λ per pair."""
        draw = matching if self.lam_per == "pair" else permutation
        return draw(size, generator=self.generator)

    def draw_lam(self, perm: Tensor, alpha: float | None = None) -> Tensor:
        """Draw λ ~ Beta(α, α) for each sample, (B,) float64 on the CPU, shared as ``lam_per`` says.

        α is the mixer's own of this epoch where none is given.
        """
        size = perm.shape[0]
        alpha = self.current_alpha if alpha is None else alpha
        if self.lam_per == "batch":
            one = one_beta(alpha, generator=self.generator)
            return torch.full((1,), one, dtype=torch.float64, device="cpu").expand(size)
        lam = beta(alpha, size, generator=self.generator)
        if self.lam_per == "pair":
            lam = lam[torch.minimum(perm, torch.arange(size, device="cpu"))]
        return lam

    def draw_box(self, lam: Tensor, perm: Tensor, height: int, width: int) -> Tensor:
        """Draw a box that leaves a share λ of each image outside, (B, 4) int64 on the CPU, shared as λ is."""
        size = perm.shape[0]
        if self.lam_per == "batch" or size == 1:
            return repeated(self.draw_one_box(lam[0].item(), height, width), size)
        centres = box_centres(size, height, width, generator=self.generator)
        if self.lam_per == "pair":
            centres = centres[perm.minimum(perm[perm])]
        return cutmix_box(lam, centres, height, width)

    def draw_one_box(self, lam: float, height: int, width: int) -> Box:
        """Draw a box for all images as :meth:`draw_box` does, in Python's numbers."""
        return one_cutmix_box(lam, one_box_centre(height, width, generator=self.generator), height, width)

    def mixed_target(self, target: Tensor, draw: Draw) -> Tensor:
        """Mix the labels by the drawn coefficients, (B, K); the draw is checked where it mixes the images."""
        return mix_pairs(target, draw.perm, draw.lam)


def repeated(box: Box, size: int) -> Tensor:
    """Give one box for all of some images, (size, 4) int64 on the CPU, of which only one lies in memory."""
    return torch.tensor([box], device="cpu").expand(size, 4)
