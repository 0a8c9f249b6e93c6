"""
Where a classifier looks
========================

A network that is told classes and never places is asked where the object is: its class activation map is cut at a
threshold, and a box goes round what is left. Twelve epochs on digits show how that is measured, not which method is
better.
"""

# %%
# Real handwritten digits, each somewhere in an image of 32 x 32 pixels. The place is known, and kept for the test.

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from sklearn.datasets import load_digits
from torch import nn

from alignmixup import Baseline, CutMix
from alignmixup.evaluation.localization.box_accuracy import box_accuracy
from alignmixup.evaluation.localization.cam import ClassActivation, score_maps

SIDE, DIGIT = 32, 16
torch.set_num_threads(1)
digits = load_digits()
small = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
large = nn.functional.interpolate(small, size=(DIGIT, DIGIT), mode="bilinear")
labels = torch.from_numpy(digits.target).long()
corners = torch.randint(SIDE - DIGIT, (len(labels), 2), generator=torch.Generator().manual_seed(0))
images = 0.1 * torch.rand(len(labels), 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
for image, digit, (row, column) in zip(images, large, corners.tolist(), strict=True):
    image[:, row : row + DIGIT, column : column + DIGIT] += digit
x, y, test_x, test_y = images[:1200], labels[:1200], images[1200:], labels[1200:]

# %%
# A small network that averages its last map, so that each class has a map of its own.


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )


def train(mixer, epochs=12):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    order = torch.Generator().manual_seed(1)
    for epoch in range(epochs):
        mixer.set_epoch(epoch)
        for rows in torch.randperm(len(x), generator=order).split(50):
            batch_x, target = mixer(x[rows], y[rows])
            nn.functional.cross_entropy(model(batch_x), target).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


# %%
# Each column is a test image with the map of its class. Dashed is the box of that map, at the threshold that is best
# for all images; the digit's own box is drawn through. MaxBoxAcc is the share of images whose two boxes overlap by
# half of what they cover together.

methods = {"no mixing": Baseline(num_classes=10), "CutMix": CutMix(num_classes=10, seed=0, probability=0.5)}
boxes = [torch.tensor([[column, row, column + DIGIT - 1, row + DIGIT - 1]]) for row, column in corners[1200:].tolist()]
sizes = [(SIDE, SIDE)] * len(boxes)
figure, grid = plt.subplots(len(methods), 6, figsize=(11, 4), layout="constrained")
for line, (name, mixer) in zip(grid, methods.items(), strict=True):
    model = train(mixer)
    maps, logits = ClassActivation(model, test_x[:2])(test_x, test_y)
    maps = score_maps(maps, (SIDE, SIDE))
    accuracy = box_accuracy(maps, boxes, sizes, contours="largest")
    best = float(accuracy.best_thresholds[1])  # at an overlap of one half
    found = accuracy.table.largest_at(best)
    error = 100 * float((logits.argmax(1) != test_y).float().mean())
    print(f"{name}: error {error:.1f} %, MaxBoxAcc {accuracy.max_box_acc:.1f} %")
    for axes, image, score, own, box in zip(line, test_x, maps, boxes, found, strict=False):
        axes.imshow(image[0], cmap="gray")
        axes.imshow(score, cmap="inferno", alpha=0.5)
        for (x0, y0, x1, y1), style in ((own[0].tolist(), "-"), (box.tolist(), "--")):
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="white", linestyle=style))
        axes.set_xticks([])
        axes.set_yticks([])
    line[0].set_ylabel(f"{name}\nMaxBoxAcc {accuracy.max_box_acc:.0f} %")
plt.show()
