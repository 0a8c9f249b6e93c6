"""
Mixing and confidence
=====================

Mixed labels make a network less sure of itself. Where it was too sure this helps; where it was not, it becomes too
unsure. Small networks, real handwritten digits, seconds each.
"""

# %%
# scikit-learn's 1,797 digits: one half to train on, the other to ask how sure the network is.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from alignmixup import AlignMixup, Baseline, Mixup

torch.set_num_threads(1)
digits = load_digits()
images = torch.from_numpy(digits.images).float().unsqueeze(1) / 8 - 1
labels = torch.from_numpy(digits.target).long()
x, y, test_x, test_y = images[:900], labels[:900], images[900:], labels[900:]

# %%
# One loop for every method: the mixer is the only thing that changes.


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )


def train(make_mixer, epochs=8):
    model = network()
    mixer = make_mixer(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(1)
    for epoch in range(epochs):
        mixer.set_epoch(epoch)
        for rows in torch.randperm(len(x), generator=order).split(50):
            with mixer(x[rows], y[rows]) as batch:
                batch.loss(model(batch.x), nn.functional.cross_entropy).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


methods = {
    "baseline": lambda _model: Baseline(num_classes=10),
    "mixup": lambda _model: Mixup(num_classes=10, alpha=1.0),
    "AlignMixup": lambda model: AlignMixup(model, layer="3", num_classes=10),
}

# %%
# Accuracy of the images at each confidence. On the diagonal, a network that is 80 % sure is right 80 % of the time.

figure, grid = plt.subplots(1, len(methods), figsize=(11, 3.6), layout="constrained", sharey=True)
edges = torch.linspace(0, 1, 11)
for axes, (name, make_mixer) in zip(grid, methods.items(), strict=True):
    probabilities = train(make_mixer)(test_x).detach().softmax(-1)
    confidence, guess = probabilities.max(-1)
    right = (guess == test_y).float()
    cells = torch.bucketize(confidence, edges[1:-1])
    accuracy = [float(right[cells == cell].mean()) if (cells == cell).any() else float("nan") for cell in range(10)]
    axes.bar(edges[:-1] + 0.05, accuracy, width=0.09, color="#2277d3")
    axes.plot([0, 1], [0, 1], color="0.4", linestyle="--")
    error = float(1 - right.mean())
    gap = float(confidence.mean() - right.mean())
    axes.set_title(f"{name}\nerror {100 * error:.1f} %, confidence minus accuracy {100 * gap:+.1f}", fontsize=9)
    axes.set_xlabel("confidence")
grid[0].set_ylabel("accuracy")
plt.show()
