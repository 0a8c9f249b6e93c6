"""Every method on the same images: what the network is shown, what each place shows, and the label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignmixup.figures.axes import name_row, show_image
from alignmixup.figures.save import Target, drawing


@dataclass(frozen=True)
class GalleryRow:
    """One line of the gallery: its name, images (N, H, W, 3) in [0, 1] and N texts below them.

    ``inset`` are masks (N, h, w, 3) in [0, 1], drawn as a line of their own; None without.
    """

    name: str
    images: np.ndarray
    captions: Sequence[str]
    inset: np.ndarray | None = None


def draw_gallery(rows: Sequence[GalleryRow], path: Target, *, title: str = "") -> None:
    """Draw the rows, each with the same number of images."""
    lines = []
    for row in rows:
        lines.append((row.name, row.images, row.captions, 1.25))
        if row.inset is not None:
            lines.append(("mask", row.inset, [""] * len(row.inset), 0.72))
    columns, heights = len(rows[0].images), [height for *_, height in lines]
    with drawing(path, width=1.3 + 1.15 * columns, height=0.5 + 1.02 * sum(heights)) as figure:
        grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
        for line, (name, images, captions, _) in zip(grid, lines, strict=True):
            for axes, image, caption in zip(line, images, captions, strict=True):
                show_image(axes, image, caption, interpolation="nearest")
            name_row(line[0], name)
        figure.suptitle(title)
