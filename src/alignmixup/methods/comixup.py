"""Co-Mixup."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.comixup.images import block_means, comixup_compose, peak_distances
from alignmixup.functional.comixup.masks import CoMixupSearch, comixup_masks
from alignmixup.functional.precision import exact_product
from alignmixup.functional.sampling import dirichlet, random_start, to_device
from alignmixup.methods.base import MixedBatch, Mixer
from alignmixup.methods.base.gradients import CleanLoss, CleanScale, input_saliency
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class CoMixupDraw:
    """Draw of Co-Mixup: of groups and not of pairs, since samples have any number of parents.

    Attributes:
        prior: (B,) float32, a Dirichlet draw for each group of inputs.
        start: (T, B, n, n) int64, input within the group of each block of each output, for T tries.
    """

    prior: Tensor
    start: Tensor


@dataclass(eq=False, kw_only=True)
class CoMixup(Mixer, CleanLoss, CoMixupSearch):
    """Mix groups of images block by block, so that outputs are salient, smooth and unlike each other.

    The saliency is the gradient of the loss with respect to the images, so each batch costs a second forward and
    backward pass. With ``clean_lam`` that pass also trains on the clean images, through the batch's auxiliary loss.
    Groups are consecutive samples: shuffle the data anew in every epoch.

    Source:
        Kim, Choo, Jeong, Song, Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity, ICLR 2021.
    """

    needs_model = "needs the gradients of the model"
    needs_labels = "finds saliency in the loss of class labels"
    alpha: float = option(
        2.0,
        "concentration of the Dirichlet prior over a group's inputs, > 0 (of no Beta distribution here)",
        paper="2.0, 1 in the ImageNet code",
        above=0,
    )
    group: int = option(
        20,
        "inputs, and outputs, of a group; the rest of a batch makes a smaller group of its own",
        paper="20, 16 on ImageNet",
        minimum=1,
    )
    blocks: int = option(4, "blocks per side n of the masks; must divide the sides of the images", paper="4", minimum=1)
    clean_lam: float = option(1.0, paper="1.0")
    clean_scale: CleanScale = option(
        "bce_softmax", paper='"bce_softmax" on CIFAR and Tiny-ImageNet, "cross_entropy" on ImageNet'
    )
    peak_window: int = option(
        8,
        "side in pixels of the window that finds the most salient place, cut to the image",
        paper="8",
        minimum=1,
    )
    peak_stride: int = option(1, "step of that window in pixels", paper="1, 8 on ImageNet", minimum=1)

    looks_inside: ClassVar[bool] = True

    @property
    def has_auxiliary(self) -> bool:
        """The clean images' loss."""
        return self.clean_lam > 0

    def draw(self, x: Tensor, target: Tensor) -> CoMixupDraw:
        """Draw each group's prior and where its optimisation starts."""
        batch, _, height, width = self.check_images(x)
        if height % self.blocks or width % self.blocks:
            sides = [n for n in range(1, min(height, width) + 1) if height % n == 0 and width % n == 0]
            raise ValueError(
                f"blocks={self.blocks} does not divide images of {height} x {width} pixels; these do: "
                + ", ".join(map(str, sides))
            )
        n, priors, starts = self.blocks, [], []
        for first, last in self._parts(batch):
            size = min(self.group, last - first)
            count = (last - first) // size
            priors.append(dirichlet(self.alpha, count, size, generator=self.generator).flatten())
            tries = random_start(self.tries * count, size, n, n, generator=self.generator)
            starts.append(tries.view(self.tries, last - first, n, n))
        return CoMixupDraw(
            prior=to_device(torch.cat(priors).float(), x.device),
            start=to_device(torch.cat(starts, 1), x.device),
        )

    def mix(self, x: Tensor, target: Tensor, draw: CoMixupDraw) -> MixedBatch:
        """Find the saliency, then each group's masks; assemble images, and labels by area."""
        draw = self.expect(CoMixupDraw, draw)
        assert self._root is not None
        options = self.gradient_options() | {"multi_label": self.multi_label}
        saliency, auxiliary = input_saliency(self._root, x, target, **options)
        images, labels, own, shown = [], [], [], []
        for first, last in self._parts(x.shape[0]):
            part = slice(first, last)
            masks = self._masks(saliency[part], draw.prior[part], draw.start[:, part])
            images.append(comixup_compose(x[part], masks))
            shown.append(masks)
            mean = masks.mean((2, 3))
            own.append(mean.diagonal(dim1=1, dim2=2).flatten())
            labels.append(exact_product(mean, target[part].view(*mean.shape[:2], -1)).flatten(0, 1))
        return MixedBatch(
            _cat(images),
            _cat(labels),
            target,
            draw,
            auxiliary=auxiliary,
            lam=_cat(own),
            pairwise=False,
            mask=partial(_join, shown),
        )

    def _parts(self, batch: int) -> list[tuple[int, int]]:
        """Where the full groups begin and end, and the rest."""
        full = batch - batch % self.group
        return [(first, last) for first, last in ((0, full), (full, batch)) if last > first]

    def _masks(self, saliency: Tensor, prior: Tensor, start: Tensor) -> Tensor:
        """Solve consecutive groups of equal size together; (G, m, n, n, m)."""
        size, n = min(self.group, len(saliency)), self.blocks
        groups = len(saliency) // size
        return comixup_masks(
            block_means(saliency, n).view(groups, size, n, n),
            peak_distances(saliency.view(groups, size, *saliency.shape[1:]), self.peak_window, self.peak_stride),
            prior=prior.view(groups, size),
            start=start.view(-1, groups, size, n, n).transpose(0, 1),
            **vars(CoMixupSearch.part_of(self)),
        )


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _join(parts: list[Tensor]) -> Tensor:
    """Masks of all groups, (B, n, n, m); a smaller last group has inputs without weight."""
    size = parts[0].shape[-1]
    return torch.cat([F.pad(masks.flatten(0, 1), (0, size - masks.shape[-1])) for masks in parts])
