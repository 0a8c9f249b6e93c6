"""
What alignment does
===================

AlignMixup interpolates feature maps after one was *aligned* to the other: each position takes what is most like it
in the partner. Here the "features" are small patches of two photographs, so that the aligned map can be looked at.
"""

# %%
# Each photograph becomes a map of 24 x 24 positions. A position's features are the pixels of its patch.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from alignmixup import functional

SIDE, PATCH = 24, 6
photos = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in load_sample_images().images]
x = torch.cat([F.interpolate(p[..., :427, 107:534], size=(SIDE * PATCH, SIDE * PATCH), mode="area") for p in photos])
features = F.pixel_unshuffle(x, PATCH)
first, second = features[:1], features[1:]
print(features.shape)

# %%
# The cost of a match is the squared distance of the two patches. Sinkhorn's plan moves everything, each position's
# share 1/r, at the least cost; ε keeps it soft. ``R`` is the plan with rows that sum to one.

cost = functional.cost_matrix(first, second)
plan = functional.sinkhorn(cost / cost.mean(), epsilon=0.0005).plan
R = functional.assignment_matrix(plan)
print("rows sum to", round(float(R.sum(-1).mean()), 3), "- positions that a row is spread over:", end=" ")
print(round(float((-(R * (R + 1e-12).log()).sum(-1)).exp().mean()), 1))

# %%
# ``R`` times the partner's features puts the partner into the geometry of the first image: same colours, other places.


def picture(flat):
    """(1, C, r) features as an image."""
    return F.pixel_shuffle(flat.reshape(1, -1, SIDE, SIDE), PATCH)[0].permute(1, 2, 0).clip(0, 1)


A, B = first.flatten(2), second.flatten(2)
figure, grid = plt.subplots(1, 4, figsize=(12, 4), layout="constrained")
shown = {
    "first": A,
    "second": B,
    "second, in the geometry\nof the first": B @ R.mT,
    "first, in the geometry\nof the second": A @ R,
}
for axes, (title, flat) in zip(grid, shown.items(), strict=True):
    axes.imshow(picture(flat))
    axes.set_title(title)
    axes.set_axis_off()
plt.show()

# %%
# Interpolated with and without alignment. Aligned, the geometry stays and the texture changes; not aligned, both fade.

weights = (1.0, 0.75, 0.5, 0.25, 0.0)
figure, grid = plt.subplots(2, len(weights), figsize=(12, 5.6), layout="constrained")
for column, lam in enumerate(weights):
    grid[0, column].imshow(picture(lam * A + (1 - lam) * (B @ R.mT)))
    grid[0, column].set_title(f"aligned, λ = {lam}")
    grid[1, column].imshow(picture(lam * A + (1 - lam) * B))
    grid[1, column].set_title(f"not aligned, λ = {lam}")
for axes in grid.flat:
    axes.set_axis_off()
plt.show()

# %%
# ``align_mix`` does all of this in one call, for a batch and its partners, with gradients.

mixed = functional.align_mix(features, torch.tensor([1, 0]), 0.5, epsilon=0.0005, normalize_cost=True)
print(mixed.shape)
