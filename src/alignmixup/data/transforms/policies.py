"""Augmentation policies of torchvision, drawn as everything else here: by a number for each image."""

from typing import Literal

import torch
from torch import Tensor

from alignmixup.outside import require

Policy = Literal["randaugment", "trivialaugment"]
POLICIES: tuple[Policy, ...] = ("randaugment", "trivialaugment")


def apply_policy(images: Tensor, seeds: Tensor, *, policy: Policy) -> Tensor:
    """Change each image as the policy says, with torchvision's published settings.

    Args:
        images: (B, 1 or 3, H, W) uint8, or float in units of 255, which is rounded.
        seeds: (B,) int64, what all that is random about each image follows from.
        policy: ``"randaugment"`` (2 of 14 operations at magnitude 9 of 31) or ``"trivialaugment"`` (one, at any
            strength of the wide ranges).

    Returns:
        (B, C, H, W) uint8. PyTorch's global generator is left as it was.

    Source:
        Cubuk et al., RandAugment, NeurIPS 2020; Mueller and Hutter, TrivialAugment, ICCV 2021.
    """
    transforms = require("torchvision.transforms.v2")
    change = {"randaugment": transforms.RandAugment, "trivialaugment": transforms.TrivialAugmentWide}[policy]()
    if images.is_floating_point():
        images = images.round().clamp(0, 255).to(torch.uint8)
    changed = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator of the CPU
        for image, seed in zip(images, seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)
            changed.append(change(image))
    return torch.stack(changed)
