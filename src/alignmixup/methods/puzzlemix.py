"""Puzzle Mix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from alignmixup.functional.labels import soft_labels
from alignmixup.functional.puzzlemix.energy import PuzzleSearch, block_shares
from alignmixup.functional.puzzlemix.images import puzzlemix, puzzlemix_mask, puzzlemix_transport
from alignmixup.functional.sampling import choice, coin, to_device
from alignmixup.methods.base import Annotation, Draw, MixedBatch, PairMixer, Parents, Pixels
from alignmixup.methods.base.gradients import CleanLoss, input_gradient, saliency_of
from alignmixup.methods.base.pair_mixer import LamPer
from alignmixup.options import option

_STEP_BEYOND = 2 / 255  # by which the adversarial step exceeds the noise's bound


@dataclass(frozen=True, eq=False, kw_only=True)
class Adversary:
    """What is random about an adversarial batch.

    Attributes:
        noise: (B, C, H, W) float32, uniform in [-1, 1).
        strength: share of the adversarial noise that is added, in [0, 1).
        first: the first images receive it.
        partner: their partners receive it.
    """

    noise: Tensor
    strength: float
    first: bool
    partner: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class PuzzleMixDraw(Draw):
    """Draw of Puzzle Mix.

    Attributes:
        blocks: blocks on a side.
        adversary: None for a batch without adversarial noise.
    """

    blocks: int
    adversary: Adversary | None = None


@dataclass(frozen=True, eq=False)
class BlocksMoved(Parents):
    """Blocks of both images lie where the plans brought them."""

    mask: Tensor
    plans: tuple[Tensor, Tensor]
    in_place: ClassVar[bool] = False

    def maps(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Move the values' blocks likewise."""
        wide = values if values.is_floating_point() else values.double()
        first, partner = (
            puzzlemix(wide, self.perm, share, self.plans)
            for share in (torch.ones_like(self.mask), torch.zeros_like(self.mask))
        )
        return first.to(values.dtype), partner.to(values.dtype)


@dataclass(eq=False, kw_only=True)
class PuzzleMix(PairMixer, Pixels, CleanLoss, PuzzleSearch):
    """Keep the salient blocks of both images: a mask that loses little saliency, and moves of salient blocks into view.

    The model's loss on the clean images gives the saliency, by one more forward pass and a backward pass to the input.
    Labels follow the area of each sample's mask.

    Source:
        Kim, Choo, Song, Puzzle Mix, ICML 2020, and its published code.
    """

    needs_model = "asks the model which pixels matter"
    needs_labels = "finds saliency in the loss of class labels"
    alpha: float = option(1.0, paper="1.0")
    lam_per: LamPer = option("batch", paper="one λ for the batch")
    blocks: Sequence[int] = option(
        (2, 4, 8, 16),
        "blocks on a side; each batch draws one of those that divide its images into whole blocks",
        paper="the same",
        minimum=1,
    )
    beta: float = option(1.2, paper="1.2, 1.5 in the fast ImageNet recipe")
    transport: bool = option(True, "move salient blocks into view", paper="True")
    transport_size: int | None = option(
        None,
        "side in pixels of the blocks that are moved, if smaller than those of the mask; None for the same",
        paper="4 on CIFAR-100, else those of the mask",
        minimum=1,
    )
    cost_weight: float = option(
        0.8, "cost of moving a block across the image, in units of saliency, >= 0", paper="0.8", minimum=0
    )
    clean_lam: float = option(0.0, paper="0 on CIFAR-100, 1 on Tiny-ImageNet")
    adversarial_probability: float = option(
        0.0,
        "probability, for the first images and for the partners of a batch, that they receive adversarial noise, in "
        "[0, 1]",
        paper="0.1 on CIFAR-100, 0.15 on Tiny-ImageNet",
        minimum=0,
        maximum=1,
    )
    adversarial_epsilon: float = option(
        10 / 255, "largest adversarial noise, in units of [0, 1] pixels", paper="10/255", minimum=0
    )

    looks_inside: ClassVar[bool] = True

    @property
    def carries(self) -> tuple[Annotation, ...]:  # type: ignore[override]
        """Masks; boxes only where blocks are not moved, which takes objects apart."""
        return ("masks",) if self.transport else ("masks", "boxes")

    @property
    def has_auxiliary(self) -> bool:
        """The clean images' loss."""
        return self.clean_lam > 0

    def _check_options(self) -> None:
        super()._check_options()
        if not self.blocks:
            raise ValueError(f"blocks must be one or more whole numbers >= 1, got {self.blocks}")

    def draw(self, x: Tensor, target: Tensor) -> PuzzleMixDraw:
        """Draw partners, λ, the number of blocks, and whether and what noise is added."""
        self.check_images(x)
        pairs = super().draw(x, target)
        sizes = self._whole_blocks(*x.shape[2:])
        blocks = sizes[choice([1.0] * len(sizes), generator=self.generator)]
        first, partner = (coin(self.adversarial_probability, generator=self.generator) for _ in range(2))
        adversary = None
        if first or partner:
            noise = torch.rand(x.shape, dtype=torch.float32, device="cpu", generator=self.generator) * 2 - 1
            strength = torch.rand((), dtype=torch.float32, device="cpu", generator=self.generator).item()
            adversary = Adversary(noise=to_device(noise, x.device), strength=strength, first=first, partner=partner)
        return PuzzleMixDraw(**vars(pairs), blocks=blocks, adversary=adversary)

    def _whole_blocks(self, height: int, width: int) -> list[int]:
        """The block counts that divide images of this size."""
        sizes = [n for n in self.blocks if height % n == 0 and width % n == 0]
        if not sizes:
            whole = [n for n in range(2, min(height, width) + 1) if height % n == 0 and width % n == 0]
            raise ValueError(
                f"none of blocks {list(self.blocks)} divides images of {height} x {width} into whole blocks; "
                f"these do: {whole or [1]}"
            )
        return sizes

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Find saliency, masks and moves, and mix images and labels."""
        draw = self.expect(PuzzleMixDraw, draw)
        assert self._root is not None
        pixels = self.pixels(x)
        adversary = draw.adversary
        # the images in which the gradient is taken
        noisy = x if adversary is None else self.normalized(pixels + self._start(pixels, adversary)).to(x.dtype)
        options = self.gradient_options() | {"multi_label": self.multi_label}
        gradient, auxiliary = input_gradient(self._root, noisy, target, **options)
        first = partner = x
        if adversary is not None:
            attacked = self._attacked(pixels, adversary, gradient, x)
            first, partner = (attacked if chosen else x for chosen in (adversary.first, adversary.partner))
        saliency = saliency_of(gradient)
        search = vars(PuzzleSearch.part_of(self))
        mask = puzzlemix_mask(saliency, pixels, draw.perm, draw.lam, draw.blocks, **search)
        ratio = mask.mean(dim=(1, 2))
        fine, plans = self._plans(mask, saliency, draw.perm)
        mixed_target = soft_labels(target, draw.perm, ratio)
        mixed = puzzlemix(first, draw.perm, fine, plans, partner)
        parents = Parents(draw.perm) if plans is None else BlocksMoved(draw.perm, fine, plans)
        return MixedBatch(
            mixed, mixed_target, target, draw, auxiliary=auxiliary, lam=ratio, mask=lambda: mask, parents=parents
        )

    def _plans(self, mask: Tensor, saliency: Tensor, perm: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Plan the moves of both images, on the grid of the mask or a finer one; the mask comes on that grid."""
        if not self.transport:
            return mask, None
        finer = self._finer(saliency.shape[1] // mask.shape[1], saliency.shape[2] // mask.shape[2])
        mask = mask.repeat_interleave(finer, dim=1).repeat_interleave(finer, dim=2)
        share = block_shares(saliency, mask.shape[1])
        # both images' moves in one call: its rounds cost launches, not arithmetic
        plans = puzzlemix_transport(
            torch.cat((mask, 1 - mask)), torch.cat((share, share[perm])), cost_weight=self.cost_weight
        )
        first, partner = plans.chunk(2)
        return mask, (first, partner)

    def _finer(self, height: int, width: int) -> int:
        """How many moved blocks make a side of a mask's block of this size."""
        size = self.transport_size
        if size is None or size >= min(height, width):
            return 1
        if height != width or height % size:
            raise ValueError(f"transport_size {size} does not divide the mask's blocks of {height} x {width} pixels")
        return height // size

    def _start(self, pixels: Tensor, adversary: Adversary) -> Tensor:
        """The random start of the noise, cut so that the images stay in [0, 1]."""
        return (pixels + self.adversarial_epsilon * adversary.noise).clamp(0, 1) - pixels

    def _attacked(self, pixels: Tensor, adversary: Adversary, gradient: Tensor, like: Tensor) -> Tensor:
        """Add noise that raises the loss: from the random start one step along the gradient's sign."""
        bound = self.adversarial_epsilon
        noise = self._start(pixels, adversary) + (bound + _STEP_BEYOND) * gradient.sign()
        noise = adversary.strength * noise.clamp(-bound, bound)
        return self.normalized((pixels + noise).clamp(0, 1)).to(like.dtype)
