"""Every method on the same images: what the network is shown, what each place shows, and the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.figures.save import new_figure, save_png

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class GalleryRow:
    """One line of the gallery.

    Attributes:
        name: what stands beside it.
        images: (N, H, W, 3) in [0, 1].
        captions: N texts below the images.
        inset: (N, h, w, 3) in [0, 1], masks drawn as a line of their own; None without.
    """

    name: str
    images: np.ndarray
    captions: Sequence[str]
    inset: np.ndarray | None = None


def draw_gallery(rows: Sequence[GalleryRow], path: Path, *, title: str = "") -> None:
    """Draw the rows into a PNG file.

    Args:
        rows: each with the same number of images.
        path: the file to write.
        title: stands above.
    """
    lines = [(row, mask) for row in rows for mask in ((False, True) if row.inset is not None else (False,))]
    columns = len(rows[0].images)
    heights = [0.72 if mask else 1.25 for _, mask in lines]
    figure = new_figure(width=1.3 + 1.15 * columns, height=0.5 + 1.02 * sum(heights))
    grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for line, (row, is_mask) in zip(grid, lines, strict=True):
        for number, axes in enumerate(line):
            _draw_cell(axes, row, number, is_mask=is_mask)
        line[0].set_ylabel("mask" if is_mask else row.name, rotation=0, ha="right", va="center", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9)
    save_png(figure, path)


def _draw_cell(axes: Any, row: GalleryRow, number: int, *, is_mask: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if is_mask:
        assert row.inset is not None
        axes.imshow(row.inset[number], interpolation="nearest")
        return
    axes.imshow(row.images[number], interpolation="nearest")
    axes.set_xlabel(row.captions[number], fontsize=6, labelpad=2)
