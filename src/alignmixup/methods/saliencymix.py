"""SaliencyMix."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from alignmixup.functional.interpolation import box_lam, cutmix
from alignmixup.functional.labels import soft_labels
from alignmixup.functional.saliency import (
    fine_grained_saliency,
    most_salient,
    raw_byte_saliency,
    spectral_residual_saliency,
)
from alignmixup.functional.sampling import cutmix_box
from alignmixup.methods.base import Annotation, Draw, MixedBatch, PairMixer, Parents, Pixels
from alignmixup.methods.cutmix import box_weights
from alignmixup.options import option


@dataclass(eq=False, kw_only=True)
class SaliencyMix(PairMixer, Pixels):
    """CutMix whose box is centred at the most salient pixel of the partner; labels follow the exact areas.

    Needs ``mean`` and ``std``, since saliency is that of the 8-bit image. The draw's λ gives the sizes of the boxes,
    which the image's border then cuts; the λ of the labels is the ``lam`` of the batch. Sizes are shared as
    λ is, so one box serves the batch with ``lam_per="batch"`` and ``box_per="batch"``.

    Source:
        Uddin et al., SaliencyMix, ICLR 2021, section 3, and its published code for sizes and rounding.
    """

    alpha: float = option(1.0, paper="1.0")
    probability: float = option(1.0, paper="0.5 on CIFAR, 1.0 on ImageNet")
    saliency: Literal["fine_grained", "spectral_residual"] = option(
        "fine_grained", 'detector: "fine_grained" or "spectral_residual"', paper='"fine_grained"'
    )
    variant: Literal["as_described", "as_released"] = option(
        "as_described",
        '"as_described" in the paper, or "as_released": the published code gives its 8-bit detector normalised floats, '
        "whose raw bytes put the box at a place that has to do with the image only by chance",
        paper='reported numbers come from "as_released"',
    )
    box_per: Literal["sample", "batch"] = option(
        "sample",
        'a centre for each "sample", in its own partner; or one for the "batch", in the partner of the first sample',
        paper="described per image, released per batch",
    )

    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    def _check_options(self) -> None:
        super()._check_options()
        if self.variant == "as_released" and self.saliency != "fine_grained":
            raise ValueError(
                f"the released code has the detector 'fine_grained' only: variant 'as_released' cannot have "
                f"saliency={self.saliency!r}; use variant='as_described' with it"
            )

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Find the boxes, paste them, and mix the labels by area."""
        draw = self.expect(Draw, draw)
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(
                f"SaliencyMix needs RGB or grey images, of shape (B, 3, H, W) or (B, 1, H, W), got {tuple(x.shape)}"
            )
        batch, _, height, width = x.shape
        if self.box_per == "batch":
            centres = self._centres(x.index_select(0, draw.perm[:1])).expand(batch, 2)
        else:
            centres = self._centres(x).index_select(0, draw.perm)
        box = cutmix_box(draw.lam, centres, height, width)
        lam = box_lam(box, height, width)
        mixed, mask = cutmix(x, draw.perm, box), partial(box_weights, box, height, width)
        labels, parents = soft_labels(target, draw.perm, lam), Parents(draw.perm)
        return MixedBatch(mixed, labels, target, draw, lam=lam, mask=mask, parents=parents)

    def _centres(self, x: Tensor) -> Tensor:
        """Find the most salient pixel of each image: (B, 2) int64 row and column."""
        x = x.detach()
        if self.variant == "as_released":
            return most_salient(raw_byte_saliency(x.expand(-1, 3, -1, -1)))
        images = (self.pixels(x) * 255).round().byte().expand(-1, 3, -1, -1)
        detect = fine_grained_saliency if self.saliency == "fine_grained" else spectral_residual_saliency
        return most_salient(detect(images))
