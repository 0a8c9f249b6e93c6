"""Random augmentation of a batch on its device: what is drawn, what is done with it, the papers' presets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from alignmixup.data.transforms.color import color_jitter, lighting
from alignmixup.data.transforms.crops import Interpolation, draw_boxes, pad_crop_flip, resized_crop
from alignmixup.data.transforms.policies import POLICIES, Policy, apply_policy
from alignmixup.near import near

__all__ = ["PRESETS", "Augment", "AugmentDraw", "preset"]


@dataclass(frozen=True, eq=False)
class AugmentDraw:
    """Everything random about the augmentation of some images; None for what is not done."""

    offset: Tensor | None = None
    flipped: Tensor | None = None
    box: Tensor | None = None
    jitter: Tensor | None = None
    jitter_order: Tensor | None = None
    policy: Tensor | None = None
    lighting: Tensor | None = None

    def select(self, index: Tensor | slice) -> "AugmentDraw":
        """The draws of the images at ``index``."""
        return self._each(lambda value: value[index])

    def to(self, device: torch.device) -> "AugmentDraw":
        """The same draws on ``device``."""
        return self._each(lambda value: value.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "AugmentDraw":
        return AugmentDraw(**{name: None if value is None else change(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Augment:
    """A random augmentation, drawn on the CPU and applied on the device of the images.

    Args:
        pad: pixels of padding around the image, of which a random window of the original size remains, >= 0.
        pad_mode: "zeros" (black, before normalisation) or "reflect".
        flip: mirror each image left to right with probability 1/2.
        resized_crop: range of the area of a random box (fractions of the image), scaled to the full size;
            None for none.
        interpolation: "bilinear" or "bicubic", of ``resized_crop`` and ``margin``.
        margin: scale both sides of the image (its aspect ratio is not kept) to this many times the size, >= 1, of which
            a random window of the size remains; not with ``pad`` or ``resized_crop``. CUB: 256 / 224.
        policy: "randaugment" or "trivialaugment", after the geometry; one image at a time. None for none.
        jitter: largest change of brightness, contrast and saturation, in [0, 1].
        lighting: standard deviation of the lighting noise, >= 0.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> import torch
        >>> from alignmixup import data
        >>> crop_and_flip = data.Augment(pad=2, flip=True)
        >>> train, test = data.build_loaders(data.load("digits"), batch_size=50, augment=crop_and_flip)
    """

    pad: int = 0
    pad_mode: Literal["zeros", "reflect"] = "zeros"
    flip: bool = False
    resized_crop: tuple[float, float] | None = None
    interpolation: Interpolation = "bilinear"
    margin: float = 1.0
    policy: Policy | None = None
    jitter: float = 0.0
    lighting: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.pad, bool) or not isinstance(self.pad, int) or self.pad < 0:
            raise ValueError(f"pad must be an integer >= 0, got {self.pad!r}")
        if self.pad_mode not in ("zeros", "reflect"):
            raise ValueError(f'pad_mode must be "zeros" or "reflect", got {self.pad_mode!r}')
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f'interpolation must be "bilinear" or "bicubic", got {self.interpolation!r}')
        if self.resized_crop is not None and not 0 < self.resized_crop[0] <= self.resized_crop[1] <= 1:
            raise ValueError(f"resized_crop must be (low, high) with 0 < low <= high <= 1, got {self.resized_crop}")
        if self.margin < 1 or (self.margin > 1 and (self.pad > 0 or self.resized_crop is not None)):
            raise ValueError(
                f"margin must be >= 1, and 1 beside pad or resized_crop, got {self.margin} with pad {self.pad} and "
                f"resized_crop {self.resized_crop}"
            )
        if self.policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, or None, got {self.policy!r}")
        if not 0 <= self.jitter <= 1 or self.lighting < 0:
            raise ValueError(f"jitter must lie in [0, 1] and lighting be >= 0, got {self.jitter} and {self.lighting}")

    def enlarged(self, image_size: int) -> int:
        """Side of the images that ``apply`` takes, to give images of ``image_size``."""
        return round(image_size * self.margin)

    def draw(self, count: int, *, image_size: int, generator: torch.Generator) -> AugmentDraw:
        """Draw for ``count`` images, from a CPU generator; a part that is switched off draws nothing."""
        offset = flipped = box = policy = jitter = order = noise = None
        if self.pad > 0:
            offset = torch.randint(0, 2 * self.pad + 1, (count, 2), generator=generator)
        elif self.margin > 1:
            offset = torch.randint(0, self.enlarged(image_size) - image_size + 1, (count, 2), generator=generator)
        if self.flip:
            flipped = torch.rand(count, generator=generator) < 0.5
        if self.resized_crop is not None:
            box = draw_boxes(count, height=image_size, width=image_size, area=self.resized_crop, generator=generator)
        if self.policy is not None:
            policy = torch.randint(0, 2**62, (count,), generator=generator)
        if self.jitter > 0:
            jitter = (torch.rand(count, 3, generator=generator) * 2 - 1) * self.jitter
            order = torch.rand(count, 3, generator=generator).argsort(1)
        if self.lighting > 0:
            noise = torch.randn(count, 3, generator=generator) * self.lighting
        return AugmentDraw(offset, flipped, box, jitter, order, policy, noise)

    def apply(self, images: Tensor, draw: AugmentDraw) -> Tensor:
        """Augment (B, C, H, H) images, H = ``enlarged(image_size)``, uint8 or float32 in units of 255, as drawn on
        their device.

        Returns:
            (B, C, image_size, image_size): the type of ``images`` if only pixels were moved, else float32 in units of
            255 (colours may leave [0, 255]).
        """
        side = round(images.shape[-1] / self.margin) if self.margin > 1 else None
        images = pad_crop_flip(images, draw.offset, draw.flipped, pad=self.pad, pad_mode=self.pad_mode, side=side)
        if draw.box is not None:
            images = resized_crop(images, draw.box, interpolation=self.interpolation).clamp_(0, 255)
        if draw.policy is not None and self.policy is not None:
            images = apply_policy(images, draw.policy, policy=self.policy)
        if draw.jitter is not None and draw.jitter_order is not None:
            images = color_jitter(images.to(torch.float32), draw.jitter, draw.jitter_order)
        if draw.lighting is not None:
            images = lighting(images.to(torch.float32) / 255, draw.lighting) * 255
        return images


PRESETS: dict[str, Augment] = {
    "none": Augment(),
    # digits: no flip, a mirrored digit is another one or none
    "crop1": Augment(pad=1),
    # CIFAR and Tiny-ImageNet of nearly all repositories (Tiny: the manifold_mixup line and AlignMixup)
    "crop4_flip": Augment(pad=4, flip=True),
    # SaliencyMix on CIFAR without its flag
    "crop4": Augment(pad=4),
    # manifold_mixup, Puzzle Mix, Co-Mixup on CIFAR
    "crop2_flip": Augment(pad=2, flip=True),
    # openmixup on CIFAR
    "reflect4_flip": Augment(pad=4, pad_mode="reflect", flip=True),
    # ImageNet; of openmixup (also on Tiny-ImageNet) with the bicubic kernel
    "resized_crop_flip": Augment(resized_crop=(0.08, 1.0), flip=True),
    "resized_crop_flip_bicubic": Augment(resized_crop=(0.08, 1.0), flip=True, interpolation="bicubic"),
    # CUB: both sides to 256 pixels, a window of 224; of the CutMix paper, and with flips of the evaluation code of 2020
    "squeezed_crop": Augment(margin=256 / 224),
    "squeezed_crop_flip": Augment(margin=256 / 224, flip=True),
    # ImageNet of AlignMixup, CutMix, Puzzle Mix and SaliencyMix
    "resized_crop_flip_color": Augment(resized_crop=(0.08, 1.0), flip=True, jitter=0.4, lighting=0.1),
}


def preset(name: str) -> Augment:
    """The augmentation of that name, with a policy behind a plus: crop4_flip+trivialaugment.

    Raises:
        ValueError: an unknown name; near names are listed.
    """
    geometry, plus, policy = name.partition("+")
    if geometry not in PRESETS:
        raise ValueError(f"unknown augmentation {geometry!r}; {near(geometry, PRESETS)}")
    if plus and policy not in POLICIES:
        raise ValueError(f"unknown augmentation policy {policy!r}; {near(policy, POLICIES)}")
    return replace(PRESETS[geometry], policy=cast(Policy, policy) if plus else None)
