"""ResizeMix."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.interpolation import box_lam, box_mask, partners
from alignmixup.functional.precision import single, widest
from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, Parents, RegionMixer
from alignmixup.methods.base.annotations import moved
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class ResizeMixDraw(Draw):
    """Draw of ResizeMix.

    Attributes:
        box: (B, 4) int64 ``y0, x0, y1, x1``, half-open, where the whole partner is pasted; ``lam`` is the exact share
            of pixels outside it.
    """

    box: Tensor


@dataclass(frozen=True, eq=False)
class PartnerResized(Parents):
    """The whole partner lies in the box."""

    box: Tensor
    in_place: ClassVar[bool] = False

    def maps(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Resize the partner's values; those that are no floats take the nearest."""
        first, partner = super().maps(values)
        return first, resized_into(partner, self.box)

    def boxes(self, boxes: list[Tensor], size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
        """Scale and move the partner's boxes."""
        first, partner = super().boxes(boxes, size)
        result = []
        for own, (y0, x0, y1, x1) in zip(partner, self.box.tolist(), strict=True):
            places = own[:, :4].to(widest(own.device))  # products of narrow integers would wrap
            corner, side = places.new_tensor([x0, y0] * 2), places.new_tensor([x1 - x0, y1 - y0] * 2)
            result.append(moved(own, corner + places * side / places.new_tensor([size[1], size[0]] * 2)))
        return first, result


@dataclass(eq=False, kw_only=True)
class ResizeMix(RegionMixer):
    """Paste the whole partner, made smaller, into a box of each image; labels follow the exact areas.

    A cut box may show none of the partner's object. The whole partner always does.

    Source:
        Qin et al., ResizeMix: Mixing Data with Preserved Object Information and True Labels, 2020 (arXiv 2012.11101).
    """

    alpha: float = option(
        1.0, "the side of the box is drawn between its limits by Beta(α, α); 1 is uniform", paper="uniform, so 1.0"
    )
    least_side: float = option(0.1, "least side of the box, as a share of the image's", paper="0.1", above=0, maximum=1)
    largest_side: float = option(0.8, "largest side, likewise", paper="0.8", above=0, maximum=1)

    def _check_options(self) -> None:
        super()._check_options()
        if self.least_side > self.largest_side:
            raise ValueError(f"least_side must be <= largest_side, got {self.least_side} and {self.largest_side}")

    def draw(self, x: Tensor, target: Tensor) -> ResizeMixDraw:
        """Draw partners and the boxes that they are pasted into."""
        batch, _, *sides = self.check_images(x)
        perm = self.draw_perm(batch)
        scale = self.least_side + (self.largest_side - self.least_side) * self.draw_lam(perm)
        places = torch.rand(
            1 if self.lam_per == "batch" else batch, 2, dtype=torch.float64, device="cpu", generator=self.generator
        ).expand(batch, 2)
        if self.lam_per == "pair":
            places = places[perm.minimum(perm[perm])]
        size = torch.tensor(sides, device="cpu")
        side = (scale[:, None] * size).long().clamp_min(1)
        low = (places * (size - side + 1)).long()
        box = torch.cat((low, low + side), 1)
        lam = box_lam(box, *sides)
        return ResizeMixDraw(lam=to_device(lam, x.device), perm=to_device(perm, x.device), box=to_device(box, x.device))

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Paste the partners and mix the labels by area."""
        draw = self.expect(ResizeMixDraw, draw)
        mask = box_mask(draw.box, *x.shape[2:])

        def paste(images: Tensor) -> Tensor:
            return torch.where(mask, images, resized_into(partners(images, draw.perm), draw.box))

        parents, weight = PartnerResized(draw.perm, draw.box), partial(Tensor.float, mask[:, 0])
        return self.pasted(x, target, draw, paste, weight, masks=masks, parents=parents)


def resized_into(x: Tensor, box: Tensor) -> Tensor:
    """Put each whole image (B, C, H, W), resized, into its box (B, 4); what lies around has no meaning.

    Floats are interpolated bilinearly, other values taken from the nearest pixel.

    Boxes are not looked at, so that nothing waits for a device.
    """
    grid = []
    for axis in (1, 0):  # columns come first in a grid
        low, high = box[:, axis, None], box[:, axis + 2, None]
        pixels = torch.arange(x.shape[2 + axis], dtype=torch.float32, device=x.device)
        grid.append((pixels - low + 0.5) / (high - low) * 2 - 1)
    columns, rows = grid
    shape = (x.shape[0], x.shape[2], x.shape[3])
    places = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), 3)
    wide, mode = (single(x), "bilinear") if x.is_floating_point() else (x.double(), "nearest")
    places = places.to(wide.dtype)
    return F.grid_sample(wide, places, mode=mode, padding_mode="border", align_corners=False).to(x.dtype)
