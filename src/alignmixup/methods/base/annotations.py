"""Annotations: masks and boxes of the images, which travel along with a mixed batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.arguments import FLOATING, readable
from alignmixup.functional.interpolation import lerp, partners
from alignmixup.functional.precision import widest
from alignmixup.taps import Hidden, LayerMix

if TYPE_CHECKING:
    from alignmixup.methods.base.batch import MixedBatch

Annotation = Literal["masks", "boxes"]


@dataclass(frozen=True, eq=False)
class MixedBoxes:
    """The boxes of a sample's two parents, as far as the sample shows them.

    Attributes:
        boxes: (N, 4 + k) ``x0, y0, x1, y1`` in pixels around the part that can be seen, then the k further columns as
            they were given.
        weight: (N,) float32 share of the box that the sample shows, in (0, 1]: λ where one λ holds everywhere.
        parent: (N,) int64 the image of the batch that a box comes from.
        index: (N,) int64 its number among the boxes of that image.
    """

    boxes: Tensor
    weight: Tensor
    parent: Tensor
    index: Tensor


@dataclass(frozen=True, eq=False)
class Parents:
    """Where a mixed sample shows its two parents: here both in place. Methods that move one have their own.

    Attributes:
        perm: (B,) partner of each sample.
        in_place: both lie as they did in their own images.
    """

    perm: Tensor
    in_place: ClassVar[bool] = True

    def maps(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Bring values (B, C, H, W) of all images' pixels to where samples show the first, and the partner."""
        return values, partners(values, self.perm)

    def boxes(self, boxes: list[Tensor], size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
        """Bring the boxes of all images, (H, W) in size, there: for each sample those of the first, of the partner."""
        return boxes, [boxes[partner] for partner in self.perm.tolist()]

    def watching(self, hidden: Mapping[str, Hidden | LayerMix]) -> Mapping[str, Hidden | LayerMix]:
        """Give the layers' functions with what tells later, after the forward pass, where they brought things."""
        return hidden


@dataclass(frozen=True, eq=False)
class Annotations:
    """Masks and boxes of a batch's images, as the caller gave them, for images of a size (H, W)."""

    masks: Tensor | None
    boxes: list[Tensor] | None
    size: tuple[int, int]

    @classmethod
    def checked(cls, x: Tensor, masks: Tensor | None, boxes: Sequence[Tensor] | Tensor | None) -> "Annotations":
        """Check annotations against the images (B, C, H, W) that they are of.

        Raises:
            TypeError: they are no tensors.
            ValueError: they do not fit the images.
        """
        if x.ndim != 4:
            raise ValueError(f"masks and boxes go with images (B, C, H, W), got {tuple(x.shape)}")
        own = None if masks is None else _checked_masks(masks, x)
        return cls(own, None if boxes is None else _checked_boxes(boxes, x), (x.shape[2], x.shape[3]))

    def mixed_masks(self, batch: "MixedBatch") -> Tensor | None:
        """Mix the masks as the images are."""
        if self.masks is None or batch.parents is None:
            return self.masks
        masks = self.masks if self.masks.ndim == 4 else self.masks[:, None]
        weight = self._weight(batch)
        if not masks.is_floating_point() and (weight.ndim == 1 or ((weight > 0) & (weight < 1)).any()):
            raise ValueError(
                f"masks of {masks.dtype} cannot be interpolated, and samples of this batch show both images at one "
                "place: give a channel for each class, as floats (F.one_hot(masks, K).movedim(-1, 1).float())"
            )
        first, partner = batch.parents.maps(masks)
        if not masks.is_floating_point():
            mixed = torch.where(weight > 0, first, partner)
        elif weight.ndim == 1:
            mixed = lerp(partner, first, weight)
        else:
            wide = torch.promote_types(masks.dtype, weight.dtype)
            mixed = torch.lerp(partner.to(wide), first.to(wide), weight.to(wide)).to(masks.dtype)
            # what cannot be seen does not count, be it NaN: a pixel whose value is unknown
            mixed = torch.where(weight == 1, first, torch.where(weight == 0, partner, mixed))
        return mixed if self.masks.ndim == 4 else mixed[:, 0]

    def mixed_boxes(self, batch: "MixedBatch") -> list[MixedBoxes] | None:
        """Find what the samples show of their parents' boxes."""
        if self.boxes is None:
            return None
        if batch.parents is None:
            whole = torch.tensor(1.0, dtype=torch.float32, device="cpu")
            return [_shown(boxes, whole, row) for row, boxes in enumerate(self.boxes)]
        first, partner = batch.parents.boxes(self.boxes, self.size)
        weights, perm = self._weight(batch).detach().float().cpu(), batch.perm.tolist()
        weights = weights if weights.ndim == 1 else weights[:, 0]
        result = []
        for row, weight in enumerate(weights):
            if perm[row] == row and batch.parents.in_place:  # mixed with itself
                result.append(_shown(first[row], torch.tensor(1.0, dtype=torch.float32, device="cpu"), row))
                continue
            result.append(_joined([_shown(first[row], weight, row), _shown(partner[row], 1 - weight, perm[row])]))
        return result

    def _weight(self, batch: "MixedBatch") -> Tensor:
        """Weights of the first examples: (B,), or (B, 1, H, W) where places differ."""
        if batch.mask is None:
            return batch.lam
        weight = batch.mask()[:, None]
        return weight if weight.shape[2:] == self.size else F.interpolate(weight, self.size, mode="nearest-exact")


def spread(box: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Give the shares of rows (H,) and of columns (W,) that a box ``x0, y0, x1, y1`` covers.

    A box without extent covers the row or column that it lies in.
    """
    shares = []
    for low, high, pixels in ((box[1], box[3], size[0]), (box[0], box[2], size[1])):
        edges = torch.arange(pixels + 1, dtype=torch.float64, device=box.device).clamp(low.double(), high.double())
        share = edges.diff()
        if not share.any():
            share[min(int(low), pixels - 1)] = 1
        shares.append(share)
    return shares[0], shares[1]


def _shown(boxes: Tensor, weight: Tensor, parent: int) -> MixedBoxes:
    """What is seen of the boxes (N, 4 + k) of one image that has this weight: one number, or (H, W)."""
    kept, shares, numbers = [boxes[:0]], [], []
    for number, box in enumerate(boxes):
        seen = box
        if not weight.ndim:
            share = float(weight)
        else:
            rows, columns = (side.float() for side in spread(box[:4].cpu(), (weight.shape[0], weight.shape[1])))
            share = min(float(rows @ weight @ columns / (rows.sum() * columns.sum())), 1.0)  # 1 but for rounding
            if share > 0:
                visible = extent((weight > 0) & (rows[:, None] > 0) & (columns > 0)).to(box.device)
                seen = torch.cat((box[:2].maximum(visible[:2]), box[2:4].minimum(visible[2:]), box[4:])).to(box.dtype)
        if share > 0:
            kept.append(seen[None])
            shares.append(share)
            numbers.append(number)
    weights = torch.tensor(shares, dtype=torch.float32, device=boxes.device)
    index = torch.tensor(numbers, dtype=torch.int64, device=boxes.device)
    return MixedBoxes(torch.cat(kept), weights, torch.full_like(index, parent), index)


def extent(part: Tensor) -> Tensor:
    """The rectangle ``x0, y0, x1, y1`` around places (H, W) of which there is one at least, (4,) int64."""
    rows, columns = (part.any(axis).nonzero()[:, 0] for axis in (1, 0))
    return torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


def moved(boxes: Tensor, places: Tensor) -> Tensor:
    """Give boxes (N, 4 + k) these places (N, 4), which may be fractions: whole numbers become the widest floats."""
    wide = boxes.to(widest(boxes.device))
    result = torch.cat((places.to(wide), wide[:, 4:]), 1)
    return result.to(boxes.dtype) if boxes.is_floating_point() else result


def _joined(parts: list[MixedBoxes]) -> MixedBoxes:
    return MixedBoxes(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(MixedBoxes)))


def _checked_masks(masks: Tensor, x: Tensor) -> Tensor:
    if not isinstance(masks, Tensor):
        raise TypeError(f"masks must be a tensor (B, H, W) or (B, C, H, W), got {type(masks).__name__}")
    if masks.ndim not in (3, 4) or masks.shape[0] != len(x) or masks.shape[-2:] != x.shape[-2:]:
        raise ValueError(
            f"masks must be (B, H, W) or (B, C, H, W) for images {tuple(x.shape)}, got {tuple(masks.shape)}: resize "
            "them to the images"
        )
    if masks.device != x.device:
        raise ValueError(f"masks on {masks.device} and images on {x.device}: move them, masks.to({str(x.device)!r})")
    return masks


def object_masks(masks: Tensor, x: Tensor) -> Tensor:
    """Check that masks say where the objects of images (B, C, H, W) are; give them as (B, H, W) float32.

    Raises:
        ValueError: another size or device, several channels, or, on the CPU, values that are not in [0, 1].
        TypeError: no tensor, or whole numbers, which may be classes or grey levels.
    """
    masks = _checked_masks(masks, x)
    if masks.ndim == 4 and masks.shape[1] != 1:
        raise ValueError(f"masks of objects have one channel, got {tuple(masks.shape)}: join them, as masks.amax(1)")
    if masks.dtype != torch.bool and masks.dtype not in FLOATING:
        raise TypeError(f"masks of objects must be bool or in [0, 1], got {masks.dtype}: compare them, as masks > 0")
    masks = masks.detach().reshape(len(x), *x.shape[2:]).float()
    if masks.numel() and readable(masks):
        least, largest = map(float, masks.aminmax())
        if not (least >= 0 and largest <= 1):  # NaN compares as false
            raise ValueError(
                f"masks of objects must be in [0, 1], got values from {least} to {largest}: compare them, as masks > 0"
            )
    return masks


def _checked_boxes(boxes: Sequence[Tensor] | Tensor, x: Tensor) -> list[Tensor]:
    each = list(boxes)
    if not all(isinstance(own, Tensor) for own in each):
        raise TypeError("boxes must be a list of tensors (N, 4), x0, y0, x1, y1 in pixels: one tensor for each image")
    if len(each) != len(x):
        raise ValueError(f"boxes are of {len(each)} images, the batch has {len(x)}: give (0, 4) where there is none")
    height, width = x.shape[2:]
    largest = 0.0
    for number, own in enumerate(each):
        order = getattr(own, "format", None)  # of torchvision's boxes
        if order is not None and getattr(order, "name", order) != "XYXY":
            raise ValueError(
                f"boxes of image {number} are {getattr(order, 'name', order)}: convert them to x0, y0, x1, y1, as "
                "torchvision.transforms.v2.functional.convert_bounding_box_format(boxes, new_format='XYXY')"
            )
        if own.dtype in (torch.uint16, torch.uint32, torch.uint64):  # of which torch finds no extremes
            raise TypeError(f"boxes of image {number} are {own.dtype}: give signed integers or floats, as boxes.long()")
        if own.ndim != 2 or own.shape[1] < 4:
            raise ValueError(f"boxes of image {number} must be (N, 4) or have further columns, got {tuple(own.shape)}")
        for x0, y0, x1, y1 in own[:, :4].tolist():
            if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
                raise ValueError(
                    f"a box of image {number} must be x0, y0, x1, y1 in pixels inside {width} x {height}, got "
                    f"{[x0, y0, x1, y1]}"
                )
            largest = max(largest, x1, y1)
    if any(map(len, each)) and min(height, width) > 1 and largest <= 1:
        raise ValueError(f"boxes look normalised to [0, 1]: give pixels of the {width} x {height} images")
    return each


def grid_over(shape: Sequence[int], size: Sequence[int], layer: str, what: str) -> tuple[int, int]:
    """Height and width of a map of positions that lies over images of a size (H, W).

    Raises:
        ValueError: other proportions than the images', as of tokens whose grid is not known; ``what`` follows.
    """
    if len(shape) != 2 or not 0.5 < shape[0] * size[1] / (shape[1] * size[0]) < 2:
        raise ValueError(
            f"positions {tuple(shape)} of layer {layer!r} are no grid over images of {size[0]} x {size[1]}: {what}, "
            "name another layer"
        )
    return shape[0], shape[1]
