"""CutMix."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from alignmixup.functional.interpolation import box_lam, box_mask, cutmix
from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Annotation, Draw, MixedBatch, PairMixer, Parents
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class CutMixDraw(Draw):
    """Draw of CutMix.

    Attributes:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open; ``lam`` is the exact share of pixels outside it.
    """

    box: Tensor


@dataclass(eq=False, kw_only=True)
class CutMix(PairMixer):
    """Replace a random box of each image by the same box of its partner; labels follow the exact areas.

    With ``lam_per="batch"`` one box serves the whole batch, as published; otherwise each pair or sample has its
    own.

    Source:
        Yun et al., CutMix, ICCV 2019, Eqs. (1) and (2).
    """

    alpha: float = option(1.0, paper="1.0")
    probability: float = option(1.0, paper="0.5 on CIFAR, 1.0 on ImageNet")

    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    def draw(self, x: Tensor, target: Tensor) -> CutMixDraw:
        """Draw partners, boxes and the λ that the clipped boxes leave."""
        batch, _, height, width = self.check_images(x)
        perm = self.draw_perm(batch)
        box = self.draw_box(self.draw_lam(perm), perm, height, width)
        return CutMixDraw(
            lam=to_device(box_lam(box, height, width), x.device),
            perm=to_device(perm, x.device),
            box=to_device(box, x.device),
        )

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Paste the boxes and mix the labels by area."""
        draw = self.expect(CutMixDraw, draw)
        mixed, mask = cutmix(x, draw.perm, draw.box), partial(box_weights, draw.box, *x.shape[2:])
        parents = Parents(draw.perm)
        return MixedBatch(mixed, self.mixed_target(target, draw), target, draw, mask=mask, parents=parents)


def box_weights(box: Tensor, height: int, width: int) -> Tensor:
    """Give the weight of the first example at each pixel, (B, H, W) float32: 0 inside the boxes."""
    return box_mask(box, height, width)[:, 0].float()
