"""
What each method shows the network
==================================

The same two photographs, mixed by every method whose mixtures can be shown as images. λ is the share of the label
that stays with the image itself.
"""

# %%
# Two photographs that scikit-learn brings along, and a batch of both orders.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_images
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from alignmixup import (
    AttentiveMix,
    CoMixup,
    CutMix,
    FMix,
    GridMix,
    Mixup,
    PuzzleMix,
    ResizeMix,
    SaliencyMix,
    SmoothMix,
    TokenMix,
    TransMix,
    functional,
)
from alignmixup.models import PreActResNet18

photos = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in load_sample_images().images]
x = torch.cat([F.interpolate(photo[..., :427, 107:534], size=(128, 128), mode="area") for photo in photos])
y = torch.tensor([0, 1])

# %%
# AttentiveMix, Puzzle Mix, Co-Mixup and TransMix ask the network that is trained where to look. Here it is a new one.
# Of each method the first mixture is shown in which both images can be seen.

torch.manual_seed(0)
model = PreActResNet18(num_classes=2, width=8).train()
transformer = VisionTransformer(128, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=2)
mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
normalised = (x - mean) / std
pixels = {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}  # for the two that look at pixels


def mixture(method, model=None, **options):
    """The first draw of a method whose λ lies between 0.4 and 0.7."""
    arguments = () if model is None else (model,)
    mixer = method(*arguments, num_classes=2, generator=torch.Generator().manual_seed(0), **options)
    for _ in range(200):
        with mixer(normalised, y) as batch:
            if batch.late:  # the labels follow the forward pass
                model(batch.x)
            mixed, target = batch.x.detach(), batch.target.detach()
        if 0.4 < float(target[0, 0]) < 0.7:
            break
    return (mixed * std + mean).clip(0, 1), target


rows = {
    "Mixup": mixture(Mixup),
    "CutMix": mixture(CutMix),
    "ResizeMix": mixture(ResizeMix),
    "FMix": mixture(FMix),
    "GridMix": mixture(GridMix),
    "SmoothMix": mixture(SmoothMix),
    "SaliencyMix": mixture(SaliencyMix, **pixels),
    "TokenMix": mixture(TokenMix, patch=16),
    "TransMix": mixture(TransMix, transformer),
    "AttentiveMix": mixture(AttentiveMix, model, share=0.0),
    "Puzzle Mix": mixture(PuzzleMix, model, **pixels),
    "Co-Mixup": mixture(CoMixup, model),
}

# %%
# AlignMixup mixes feature maps, which are no images. Here small patches stand for features. The partner's patches move
# to where the first image has patches like them, so the geometry of the first stays; reversed, that of the partner.

patches = F.pixel_unshuffle(x, 4)
for keep, name in (("first", "AlignMixup"), ("partner", "AlignMixup, reversed")):
    mixed = functional.align_mix(
        patches, torch.tensor([1, 0]), 0.5, keep=keep, epsilon=0.0005, normalize_cost=True, max_positions=None
    )
    rows[name] = F.pixel_shuffle(mixed, 4).clip(0, 1), torch.tensor([[0.5, 0.5]])

# %%
# The originals, then what the network is shown in place of the first.

figure, grid = plt.subplots(2, 8, figsize=(15, 5), layout="constrained")
for axes, image, title in zip(grid.flat[:2], x, ("first", "second"), strict=True):
    axes.imshow(image.permute(1, 2, 0))
    axes.set_title(title)
for axes, (name, (images, target)) in zip(grid.flat[2:], rows.items(), strict=False):
    axes.imshow(images[0].permute(1, 2, 0))
    axes.set_title(f"{name}\nλ = {float(target[0, 0]):.2f}")
for axes in grid.flat:
    axes.set_axis_off()
plt.show()
