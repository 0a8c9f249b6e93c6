"""RegionMixer: base of the methods that show a partner in a region of each image."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from alignmixup.functional.interpolation import mix_pairs, partners, paste
from alignmixup.functional.labels import visible_lam
from alignmixup.methods.base.annotations import Annotation, Parents, object_masks
from alignmixup.methods.base.batch import Draw, MixedBatch
from alignmixup.methods.base.pair_mixer import PairMixer
from alignmixup.options import option


@dataclass(eq=False, kw_only=True)
class RegionMixer(PairMixer):
    """Base of the methods that show a partner in a region of each image; labels follow areas, or what can be seen."""

    labels: Literal["area", "visible"] = option(
        "area",
        'what a label weighs: the "area" of its image, or the "visible" area of its object, which masks say: '
        "mixer(x, y, masks=masks)",
        paper='"area"; "visible" in OA-CutMix',
    )

    carries: ClassVar[tuple[Annotation, ...]] = ("masks", "boxes")

    @property
    def wants_masks(self) -> bool:
        """Labels follow what is visible."""
        return self.labels == "visible"

    def pasted(
        self,
        x: Tensor,
        target: Tensor,
        draw: Draw,
        show: Callable[[Tensor], Tensor],
        mask: Callable[[], Tensor],
        *,
        lam: Tensor | None = None,
        one_lam: float | None = None,
        masks: Tensor | None = None,
        parents: Parents | None = None,
    ) -> MixedBatch:
        """Make the batch of a region.

        Args:
            x: (B, C, H, W) images.
            target: (B, K) their labels.
            draw: the draw.
            show: shows the partners' region in any (B, C, H, W) tensor that lies over the images: images, or masks.
            mask: gives (B, H, W) float32 weights of the first example.
            lam: (B,) exact share of the first example by area; None where it is the draw's.
            one_lam: the draw's λ in Python's numbers, where it is known to be one for all.
            masks: (B, H, W) where the objects are; needed where labels follow what is visible.
            parents: where the samples show their two parents; None for both in place.
        """
        mixed = show(x)  # first: it checks the draw
        lam = draw.lam if lam is None else lam
        weight: Tensor | float = lam if one_lam is None else one_lam
        if self.wants_masks:
            if masks is None:
                raise ValueError(self._no_masks())
            known = object_masks(masks, x)
            weight = lam = visible_lam(known, show(known[:, None])[:, 0], mask(), draw.perm, lam)
        parents, mixed_target = parents or Parents(draw.perm), mix_pairs(target, draw.perm, weight)
        return MixedBatch(mixed, mixed_target, target, draw, lam=lam, mask=mask, parents=parents)

    def shown(
        self, x: Tensor, target: Tensor, draw: Draw, mask: Tensor, *, lam: Tensor | None = None, masks: Tensor | None
    ) -> MixedBatch:
        """Make the batch of a mask (B, H, W), bool or weights, that shows the first example in place; see `pasted`."""

        def show(images: Tensor) -> Tensor:
            return paste(images, partners(images, draw.perm), mask[:, None])

        return self.pasted(x, target, draw, show, partial(Tensor.float, mask), lam=lam, masks=masks)
