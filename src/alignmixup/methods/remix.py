"""Remix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignmixup.functional.interpolation import mix_pairs, mixup
from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, PairMixer
from alignmixup.options import option


@dataclass(eq=False, kw_only=True)
class Remix(PairMixer):
    """Interpolate images as mixup does, and give the whole label to a class that is much rarer than its partner's.

    Of classes with n and m training images, where n >= κ m, the partner has the whole label if λ < τ. Where m >= κ n
    the first example has it if 1 - λ < τ. Otherwise labels follow λ.

    Source:
        Chou, Chang, Pan, Wei, Juan, Remix: Rebalanced Mixup, ECCV Workshops 2020 (arXiv 2007.03943).
    """

    class_counts: Sequence[float] | None = option(
        None,
        "training images of each class, in their order, one number a class; the trainer counts them itself",
        paper="those of the training set",
        minimum=0,
        repr=False,
    )
    kappa: float = option(3.0, "how many times more images the larger class must have, κ", paper="3", minimum=1)
    tau: float = option(
        0.5,
        "the label goes to the rarer class where the other one's share of the image is below τ",
        paper="0.5",
        minimum=0,
        maximum=1,
    )

    needs_labels = "favours rare classes"

    def _check_options(self) -> None:
        super()._check_options()
        if self.multi_label:
            raise ValueError(
                "Remix gives the label to the rarer of two classes, and images of multi_label have any number of them: "
                "use Mixup"
            )
        if self.class_counts is not None and self.num_classes not in (None, len(self.class_counts)):
            raise ValueError(
                f"class_counts must be one number for each of {self.num_classes} classes, got {len(self.class_counts)}"
            )
        if self.class_counts is not None and not any(self.class_counts):
            raise ValueError(
                "class_counts must be the training images of each class, and all are 0: count those of the training set"
            )

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Interpolate images, and labels by the weights that the rule gives."""
        draw = self.expect(Draw, draw)
        mixed = mixup(x, draw.perm, draw.lam)
        lam = self._label_lam(target, draw)
        return MixedBatch(mixed, mix_pairs(target, draw.perm, lam), target, draw, lam=lam)

    def _label_lam(self, target: Tensor, draw: Draw) -> Tensor:
        """Weights of the first examples in the labels, (B,)."""
        if self.class_counts is None:
            raise ValueError(
                "Remix favours rare classes, so it must know how many training images each class has: build it with "
                "class_counts=torch.bincount(labels, minlength=num_classes).tolist()"
            )
        if len(self.class_counts) != target.shape[1]:
            raise ValueError(
                f"class_counts must be one number for each of {target.shape[1]} classes, got {len(self.class_counts)}"
            )
        counts = to_device(torch.tensor(self.class_counts, dtype=torch.float32, device="cpu"), target.device)
        own = counts[target.argmax(1)]
        partner, lam = own[draw.perm], draw.lam
        # of two classes without training images neither is the rarer
        common_partner = (partner >= self.kappa * own) & (partner > 0)
        common_own = (own >= self.kappa * partner) & (own > 0)
        lam = torch.where(common_partner & (1 - draw.lam < self.tau), 1.0, lam)
        return torch.where(common_own & (draw.lam < self.tau), 0.0, lam)
