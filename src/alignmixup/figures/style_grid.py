"""Show what a style autoencoder does: contents down, styles across."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.figures.save import new_figure, save_png

if TYPE_CHECKING:
    from torch import Tensor

    from alignmixup.models.style_autoencoder import StyleAutoencoder


def draw_style_grid(autoencoder: StyleAutoencoder, images: Tensor, path: Path) -> None:
    """Draw each image in the style of each other as PNG; on the diagonal stands its plain reconstruction.

    Args:
        autoencoder: from the CPU.
        images: (N, C, H, W) in [0, 1]; one or three channels.
        path: the file to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import torch

    from alignmixup.functional.style import adain

    count, size = len(images), (images.shape[2], images.shape[3])
    with torch.no_grad():
        features = autoencoder.encode(images)
        mixed = adain(features.repeat_interleave(count, 0), features.repeat(count, 1, 1, 1))
        grid = autoencoder.decode(mixed, size).reshape(count, *images.shape)
    figure = new_figure(width=0.8 * (count + 1), height=0.8 * (count + 1))
    axes = figure.subplots(count + 1, count + 1)
    for row in range(count + 1):
        for column in range(count + 1):
            axis = axes[row, column]
            axis.axis("off")
            if row and column:
                _show(axis, grid[row - 1, column - 1])
            elif row or column:
                _show(axis, images[max(row, column) - 1])
    axes[0, 0].text(0.5, 0.5, "style →\ncontent ↓", ha="center", va="center", fontsize=7)
    save_png(figure, path)


def _show(axis: Any, image: Tensor) -> None:
    channels = image.shape[0]
    axis.imshow(image.movedim(0, -1).expand(-1, -1, 3 if channels == 1 else channels).numpy(), vmin=0, vmax=1)
