"""CutMix."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from alignmixup.functional.interpolation import box_lam, box_mask, cutmix, one_box_lam, paste_one
from alignmixup.functional.sampling import one_beta, to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.methods.base.pair_mixer import repeated
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class CutMixDraw(Draw):
    """Draw of CutMix.

    Attributes:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open; ``lam`` is the exact share of pixels outside it.
    """

    box: Tensor


@dataclass(eq=False, kw_only=True)
class CutMix(RegionMixer):
    """Replace a random box of each image by the same box of its partner; labels follow the exact areas.

    With ``lam_per="batch"`` one box serves the whole batch, as published; otherwise each pair or sample has its
    own.

    Source:
        Yun et al., CutMix, ICCV 2019, Eqs. (1) and (2).
    """

    alpha: float = option(1.0, paper="1.0")
    probability: float = option(1.0, paper="0.5 on CIFAR, 1.0 on ImageNet")

    def draw(self, x: Tensor, target: Tensor) -> CutMixDraw:
        """Draw partners, boxes and the λ that the clipped boxes leave."""
        batch, _, height, width = self.check_images(x)
        perm = self.draw_perm(batch)
        shared: dict[str, Any] = {}
        if self.lam_per == "batch":
            one = self.draw_one_box(one_beta(self.current_alpha, generator=self.generator), height, width)
            shared = {"box": one, "lam": one_box_lam(one, height, width)}
            box, lam = repeated(one, batch), torch.full((batch,), shared["lam"], dtype=torch.float32, device="cpu")
        else:
            box = self.draw_box(self.draw_lam(perm), perm, height, width)
            lam = box_lam(box, height, width)
        lam, perm, box = (to_device(drawn, x.device) for drawn in (lam, perm, box))
        return self.stream.vouch(CutMixDraw(lam=lam, perm=perm, box=box), x, **shared)

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Paste the boxes and mix the labels by area."""
        draw = self.expect(CutMixDraw, draw)
        shared = self.stream.vouched(draw, x)
        if shared:
            paste = partial(paste_one, perm=draw.perm, box=shared["box"])
        else:
            paste = partial(cutmix, perm=draw.perm, box=draw.box)
        lam, weights = (shared or {}).get("lam"), partial(box_weights, draw.box, *x.shape[2:])
        return self.pasted(x, target, draw, paste, weights, one_lam=lam, masks=masks)


def box_weights(box: Tensor, height: int, width: int) -> Tensor:
    """Give the weight of the first example at each pixel, (B, H, W) float32: 0 inside the boxes."""
    return box_mask(box, height, width)[:, 0].float()
