"""Localisation: accuracy over the threshold, and boxes on images with their score maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.figures.save import new_figure, save_png

if TYPE_CHECKING:
    import numpy as np

_TRUTH, _FOUND, _MISSED = "limegreen", "red", "darkorange"


def draw_threshold_curves(results: Sequence[dict[str, Any]], path: Path, *, title: str = "") -> None:
    """Plot box accuracy over the threshold into a PNG file: a panel for each choice of contours and level of match.

    Args:
        results: one for each line: ``name``; ``thresholds``; ``curves``, from contours ("largest", "all") to level of
            match to percentages; all with the same contours and levels. One whose ``is_baseline`` is true is dashed.
        path: the file to write.
        title: stands above.
    """
    contours = list(results[0]["curves"])
    levels = list(results[0]["curves"][contours[0]])
    figure = new_figure(width=1.0 + 3.0 * len(levels), height=0.8 + 2.6 * len(contours))
    grid = figure.subplots(len(contours), len(levels), squeeze=False, sharex=True, sharey=True)
    for row, which in zip(grid, contours, strict=True):
        for axes, level in zip(row, levels, strict=True):
            for number, result in enumerate(results):
                curve = result["curves"][which][level]
                best = max(range(len(curve)), key=curve.__getitem__)
                dashed = result.get("is_baseline", False)
                colour = "black" if dashed else f"C{number}"
                style = {"color": colour, "linestyle": "--" if dashed else "-", "linewidth": 1.2}
                axes.plot(result["thresholds"], curve, label=f"{result['name']} {curve[best]:.1f}", **style)
                axes.plot(result["thresholds"][best], curve[best], "o", color=colour, markersize=3)
            axes.set_title(f"{'largest contour' if which == 'largest' else 'all contours'}, IoU ≥ {level}", fontsize=9)
            axes.legend(fontsize=7, title="maximum at the dot", title_fontsize=7)
            axes.grid(alpha=0.3)
        row[0].set_ylabel("images (%)")
    for axes in grid[-1]:
        axes.set_xlabel("threshold, share of the map's maximum")
    grid[0, 0].set(xlim=(0, 1), ylim=(0, None))
    if title:
        figure.suptitle(title, fontsize=10)
    save_png(figure, path)


@dataclass(frozen=True)
class MapRow:
    """Score maps of one network on the images of a picture.

    Attributes:
        name: what stands beside the row.
        maps: (N, h, w) in [0, 1].
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the maps, both corners included.
        match: N values of intersection over union with the nearest true box.
        correct: N booleans, whether the class is right.
    """

    name: str
    maps: np.ndarray
    boxes: np.ndarray
    match: Sequence[float]
    correct: Sequence[bool]


def draw_boxes(
    images: np.ndarray, truth: Sequence[np.ndarray], rows: Sequence[MapRow], path: Path, *, captions: Sequence[str]
) -> None:
    """Draw images with their boxes, and below them the maps and boxes of each network, into a PNG file.

    Args:
        images: (N, h, w, 3) in [0, 1], of the size of the maps.
        truth: for each image its boxes (k, 4), in pixels of the maps: drawn green.
        rows: networks; a found box is red where it matches by at least 0.5, else orange.
        path: the file to write.
        captions: of the images.
    """
    count = len(images)
    figure = new_figure(width=0.9 + 1.5 * count, height=0.5 + 1.7 * (len(rows) + 1))
    grid = figure.subplots(len(rows) + 1, count, squeeze=False)
    for number, axes in enumerate(grid[0]):
        _draw_image(axes, images[number], truth[number], captions[number])
    for line, row in zip(grid[1:], rows, strict=True):
        for number, axes in enumerate(line):
            text = f"{row.match[number]:.2f}{'' if row.correct[number] else ', wrong class'}"
            _draw_image(axes, images[number], truth[number], text)
            axes.imshow(row.maps[number], cmap="jet", alpha=0.45, vmin=0, vmax=1)
            _draw_box(axes, row.boxes[number], _FOUND if row.match[number] >= 0.5 else _MISSED)
        line[0].set_ylabel(row.name, fontsize=8)
    grid[0, 0].set_ylabel("true boxes", fontsize=8)
    save_png(figure, path)


def _draw_image(axes: Any, image: np.ndarray, truth: np.ndarray, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.imshow(image)
    height, width = image.shape[:2]
    axes.set(xlim=(-4, width + 3), ylim=(height + 3, -4))  # boxes along the border stay in sight
    for box in truth:
        _draw_box(axes, box, _TRUTH)
    axes.set_xlabel(text, fontsize=7, labelpad=2)


def _draw_box(axes: Any, box: np.ndarray, colour: str) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = (int(corner) for corner in box)
    # pixel centres are whole numbers: a box reaches half a pixel beyond the corners that belong to it
    axes.add_patch(
        Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, edgecolor=colour, linewidth=1.4)
    )
