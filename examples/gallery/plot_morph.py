"""
From one digit to another
=========================

What does a mixed feature map look like? A decoder that was trained on clean images only is shown maps that are mixed:
with alignment, and without.
"""

# %%
# AlignMixupAE trains the classifier, and a decoder that makes images of the maps of one of its layers.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from alignmixup import AlignMixupAE, functional

torch.set_num_threads(1)
digits = load_digits()
images = nn.functional.interpolate(
    torch.from_numpy(digits.images).float().unsqueeze(1) / 16, size=(16, 16), mode="bilinear"
)
x, y = images * 2 - 1, torch.from_numpy(digits.target).long()

torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, 2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    *(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    *(nn.Conv2d(16, 16, 3, 2, padding=1), nn.ReLU()),
    *(nn.Flatten(), nn.Linear(256, 10)),
)
mixer = AlignMixupAE(model, layer="5", num_classes=10, mean=(0.5,), std=(0.5,), seed=0)
mixer.prepare(size=(1, 16, 16))
optimizer = torch.optim.Adam([*model.parameters(), *mixer.parameters()], lr=0.003)
for epoch in range(4):
    mixer.set_epoch(epoch)
    for rows in torch.randperm(1500, generator=torch.Generator().manual_seed(epoch)).split(50):
        with mixer(x[rows], y[rows]) as batch:
            batch.loss(model(batch.x), nn.functional.cross_entropy).backward()
        optimizer.step()
        optimizer.zero_grad()
model.eval()
error = 100 * float((model(x[1500:]).argmax(1) != y[1500:]).float().mean())
print(f"error {error:.1f} %")

# %%
# Two test images, their maps, and what the decoder makes of the maps between. λ is the share of the first. Aligned,
# each position of the first takes what is most like it in the second, so that the strokes stay where they are. Not
# aligned, both shapes lie over each other.

pair = x[1500:][torch.stack([(y[1500:] == digit).nonzero()[0, 0] for digit in (3, 8)])]
swap = torch.tensor([1, 0])
weights = (1.0, 0.75, 0.5, 0.25, 0.0)
with torch.no_grad():
    features = mixer.encode(pair)
    rows = {
        "aligned": [functional.align_mix(features, swap, lam) for lam in weights],
        "not aligned": [functional.mixup(features, swap, lam) for lam in weights],
    }
    figure, grid = plt.subplots(2, 7, figsize=(12, 3.8), layout="constrained")
    for line, (name, maps) in zip(grid, rows.items(), strict=True):
        decoded = [mixer.decode(each)[0, 0] for each in maps]
        shown = [pair[0, 0] / 2 + 0.5, *decoded, pair[1, 0] / 2 + 0.5]
        titles = ["first", *(f"λ = {lam}" for lam in weights), "second"]
        for axes, image, title in zip(line, shown, titles, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name)
plt.show()
