"""Show what a style autoencoder does: contents down, styles across."""

import torch
from torch import Tensor

from alignmixup.figures.axes import show_image
from alignmixup.figures.save import Target, drawing
from alignmixup.functional.style import adain
from alignmixup.models.style_autoencoder import StyleAutoencoder


def draw_style_grid(autoencoder: StyleAutoencoder, images: Tensor, path: Target) -> None:
    """Draw each of N images (N, 1 or 3, H, W) in [0, 1] in the style of each other; reconstructions on the diagonal."""
    count, size = len(images), (images.shape[2], images.shape[3])
    with torch.no_grad():
        features = autoencoder.encode(images)
        mixed = adain(features.repeat_interleave(count, 0), features.repeat(count, 1, 1, 1))
        grid = autoencoder.decode(mixed, size).reshape(count, *images.shape)
    with drawing(path, width=0.8 * (count + 1), height=0.8 * (count + 1)) as figure:
        axes = figure.subplots(count + 1, count + 1)
        axes[0, 0].axis("off")
        axes[0, 0].text(0.5, 0.5, "style →\ncontent ↓", ha="center", va="center", fontsize=7)
        for number, image in enumerate(images, 1):
            _show(axes[0, number], image)
            _show(axes[number, 0], image)
            for column in range(count):
                _show(axes[number, column + 1], grid[number - 1, column])


def _show(axes: object, image: Tensor) -> None:
    show_image(axes, image.expand(3, -1, -1).movedim(0, -1).numpy(), vmin=0, vmax=1)
