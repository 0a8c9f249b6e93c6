"""Co-Mixup."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.comixup.images import block_saliency, comixup_compose, peak_distances
from alignmixup.functional.comixup.masks import Threshold, Variant, comixup_masks
from alignmixup.functional.sampling import dirichlet, random_start, to_device
from alignmixup.methods.base import Mixer
from alignmixup.methods.batch import Draw, MixedBatch
from alignmixup.methods.gradients import CleanScale, input_saliency


@dataclass(frozen=True, eq=False, kw_only=True)
class CoMixupDraw(Draw):
    """Draw of Co-Mixup; ``lam`` is 1 and ``perm`` the identity, since samples have any number of parents.

    Attributes:
        prior: (B,) float32, a Dirichlet draw for each group of inputs.
        start: (T, B, n, n) int64, input within the group of each block of each output, for T tries.
    """

    prior: Tensor
    start: Tensor


@dataclass(eq=False, kw_only=True)
class CoMixup(Mixer):
    """Mix groups of images block by block, so that outputs are salient, smooth and unlike each other.

    The saliency is the gradient of the loss with respect to the images, so each batch costs a second forward and
    backward pass. With ``clean_lam`` that pass also trains on the clean images, through the batch's auxiliary loss.
    Groups are consecutive samples: shuffle the data anew in every epoch.

    Args:
        alpha: concentration of the Dirichlet prior over a group's inputs, > 0 (of no Beta distribution here).
        lam_per: has no meaning here, since there is no λ; leave it.
        group: inputs, and outputs, of a group; the rest of a batch makes a smaller group of its own. Paper: 20, 16 on
            ImageNet.
        blocks: blocks per side n of the masks; must divide the sides of the images. Paper: 4.
        beta: price of unlike neighbouring blocks, >= 0. Paper: 0.32.
        gamma: price of sharing inputs with other outputs, >= 0. Paper: 1.0.
        eta: weight of the prior, >= 0. Paper: 0.05.
        tau: share of an input's blocks in use elsewhere above which it is charged, >= 0. Paper: 0.83.
        omega: weight of the distances between the most salient places, in [0, 1]. Paper: 0.001.
        rounds: sweeps over the outputs of a group, >= 1. Paper: 4, 3 on ImageNet.
        safeguard: in the last round take only changes that do not raise the objective. Paper: False.
        tries: random starts, >= 1, the best of which is taken. Paper: 1.
        set_resolve: tell outputs apart that are made of the same inputs. Paper: True.
        threshold: ``"hard"`` or ``"soft"`` charge of shared inputs. Paper: ``"hard"``.
        variant: ``"as_described"``, or ``"as_released"`` for the published code's order of operations in the charge.
        clean_lam: weight of the loss of the clean images, >= 0; with 0 the saliency is found in eval mode. Paper: 1.
        clean_scale: the criterion that the clean loss is scaled for: ``"bce_softmax"`` (CIFAR and Tiny-ImageNet) or
            ``"cross_entropy"`` (ImageNet).
        peak_window: side in pixels of the window that finds the most salient place, cut to the image. Paper: 8.
        peak_stride: step of that window in pixels. Paper: 1, 8 on ImageNet.

    Source:
        Kim, Choo, Jeong, Song, Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity, ICLR 2021.
    """

    alpha: float = 2.0
    group: int = 20
    blocks: int = 4
    beta: float = 0.32
    gamma: float = 1.0
    eta: float = 0.05
    tau: float = 0.83
    omega: float = 0.001
    rounds: int = 4
    safeguard: bool = True
    tries: int = 2
    set_resolve: bool = True
    threshold: Threshold = "hard"
    variant: Variant = "as_described"
    clean_lam: float = 1.0
    clean_scale: CleanScale = "bce_softmax"
    peak_window: int = 8
    peak_stride: int = 1

    looks_inside: ClassVar[bool] = True

    @property
    def has_auxiliary(self) -> bool:
        """The clean images' loss."""
        return self.clean_lam > 0

    def _check_options(self) -> None:
        super()._check_options()
        if self.model is None:
            raise ValueError("CoMixup needs the gradients of the model: pass it as CoMixup(model, ...)")
        if self.lam_per != "batch":
            raise ValueError(f"lam_per has no meaning in CoMixup, which draws no λ: leave it out, got {self.lam_per!r}")
        for name in ("group", "blocks", "rounds", "tries", "peak_window", "peak_stride"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value}")
        for name, most in (("omega", 1), *((name, math.inf) for name in ("beta", "gamma", "eta", "tau", "clean_lam"))):
            if not (0 <= (value := getattr(self, name)) <= most and math.isfinite(value)):
                raise ValueError(f"{name} must be {'in [0, 1]' if most == 1 else '>= 0'}, got {value}")
        for name, known in (
            ("threshold", ("hard", "soft")),
            ("variant", ("as_described", "as_released")),
            ("clean_scale", ("bce_softmax", "cross_entropy")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {known[0]!r} or {known[1]!r}, got {getattr(self, name)!r}")

    def draw(self, x: Tensor, target: Tensor) -> CoMixupDraw:
        """Draw each group's prior and where its optimisation starts."""
        if x.ndim != 4:
            raise ValueError(f"CoMixup needs images of shape (B, C, H, W), got {tuple(x.shape)}")
        height, width = x.shape[2:]
        if height % self.blocks or width % self.blocks:
            sides = [n for n in range(1, min(height, width) + 1) if height % n == 0 and width % n == 0]
            raise ValueError(
                f"blocks={self.blocks} does not divide images of {height} x {width} pixels; these do: "
                + ", ".join(map(str, sides))
            )
        batch, n = x.shape[0], self.blocks
        priors, starts = [], []
        for first, last in self._parts(batch):
            size = min(self.group, last - first)
            count = (last - first) // size
            priors.append(dirichlet(self.alpha, count, size, generator=self.generator).flatten())
            tries = random_start(self.tries * count, size, n, n, generator=self.generator)
            starts.append(tries.view(self.tries, last - first, n, n))
        return CoMixupDraw(
            lam=torch.ones(batch, device=x.device),
            perm=torch.arange(batch, device=x.device),
            prior=to_device(torch.cat(priors).float(), x.device),
            start=to_device(torch.cat(starts, 1), x.device),
        )

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Find the saliency, then each group's masks; assemble images, and labels by area."""
        assert isinstance(draw, CoMixupDraw)
        assert self.model is not None
        saliency, auxiliary = input_saliency(
            self.model,
            x,
            target,
            train_statistics=self.clean_lam > 0,
            clean_weight=self.clean_lam,
            clean_scale=self.clean_scale,
        )
        images, labels, shown = [], [], []
        for first, last in self._parts(x.shape[0]):
            part = slice(first, last)
            masks = self._masks(saliency[part], draw.prior[part], draw.start[:, part])
            images.append(comixup_compose(x[part], masks))
            shown.append(masks)
            with torch.autocast(x.device.type, enabled=False):
                mean = masks.mean((2, 3))
                labels.append((mean @ target[part].view(*mean.shape[:2], -1)).flatten(0, 1))
        return MixedBatch(
            images[0] if len(images) == 1 else torch.cat(images),
            labels[0] if len(labels) == 1 else torch.cat(labels),
            target,
            draw,
            auxiliary=auxiliary,
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
            block_saliency(saliency, n).view(groups, size, n, n),
            peak_distances(saliency.view(groups, size, *saliency.shape[1:]), self.peak_window, self.peak_stride),
            beta=self.beta,
            gamma=self.gamma,
            eta=self.eta,
            tau=self.tau,
            omega=self.omega,
            rounds=self.rounds,
            prior=prior.view(groups, size),
            set_resolve=self.set_resolve,
            safeguard=self.safeguard,
            threshold=self.threshold,
            variant=self.variant,
            start=start.view(-1, groups, size, n, n).transpose(0, 1),
        )


def _join(parts: list[Tensor]) -> Tensor:
    """Masks of all groups, (B, n, n, m); a smaller last group has inputs without weight."""
    size = parts[0].shape[-1]
    return torch.cat([F.pad(masks.flatten(0, 1), (0, size - masks.shape[-1])) for masks in parts])
