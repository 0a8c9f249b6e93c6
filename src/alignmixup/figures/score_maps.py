"""Score maps: box accuracy over the threshold, and the maps with their boxes on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alignmixup.figures.axes import fold, name_row, show_image
from alignmixup.figures.palette import CARD, FIRST, INK, SECOND, SEQUENTIAL, dashes, series
from alignmixup.figures.save import Target, drawing

if TYPE_CHECKING:
    import numpy as np

# what it is, colour and line; each has a rim, so that it is seen on any image: the dashes tell without colours
_TRUTH = ("true box", CARD, "solid")
_FOUND = ("found, IoU ≥ 0.5", FIRST, "solid")
_MISSED = ("found, IoU < 0.5", SECOND, (0, (2.5, 1.5)))


def draw_threshold_curves(results: Sequence[dict[str, Any]], path: Target, *, title: str = "") -> None:
    """Plot box accuracy over the threshold: a panel for each choice of contours and level of match.

    A line is a dictionary with ``name``; ``thresholds``; ``curves``, from contours ("largest", "all") to level of match
    to percentages; all with the same contours and levels. One whose ``is_baseline`` is true is dashed.
    """
    contours = list(results[0]["curves"])
    levels = list(results[0]["curves"][contours[0]])
    with drawing(path, width=1.0 + 3.0 * len(levels), height=0.8 + 2.6 * len(contours)) as figure:
        grid = figure.subplots(len(contours), len(levels), squeeze=False, sharex=True, sharey=True)
        for row, which in zip(grid, contours, strict=True):
            for axes, level in zip(row, levels, strict=True):
                _draw_curves(axes, results, which, level)
            row[0].set_ylabel("images (%)")
        for axes in grid[-1]:
            axes.set_xlabel("threshold, share of the map's maximum")
        highest = max(max(curve) for result in results for one in result["curves"].values() for curve in one.values())
        free = min(0.6, 0.075 * (len(results) + 1))  # of the height, for the legends: the curves leave them no corner
        grid[0, 0].set(xlim=(0, 1), ylim=(0, max(highest, 1) / (1 - free)))
        figure.suptitle(title)


def _draw_curves(axes: Any, results: Sequence[dict[str, Any]], which: str, level: str) -> None:
    for number, result in enumerate(results):
        curve, at = result["curves"][which][level], result["thresholds"]
        best = max(range(len(curve)), key=curve.__getitem__)
        dashed = result.get("is_baseline", False)
        colour, style = (INK, "--") if dashed else (series(number), dashes(number))
        axes.plot(at, curve, color=colour, linestyle=style, linewidth=1.2, label=f"{result['name']} {curve[best]:.1f}")
        axes.plot(at[best], curve[best], "o", color=colour, markersize=3)
    axes.set_title(f"{'largest contour' if which == 'largest' else 'all contours'}, IoU ≥ {level}")
    axes.legend(fontsize=7, title="maximum at the dot", title_fontsize=7, loc="upper left")


@dataclass(frozen=True)
class MapRow:
    """Score maps (N, h, w) in [0, 1] of one network on the images of a picture.

    ``boxes`` (N, 4) are x0, y0, x1, y1 in pixels of the maps, both corners included; ``match`` are N values of
    intersection over union with the nearest true box; ``correct`` says of each whether the class is right.
    """

    name: str
    maps: np.ndarray
    boxes: np.ndarray
    match: Sequence[float]
    correct: Sequence[bool]


def draw_boxes(
    images: np.ndarray, truth: Sequence[np.ndarray], rows: Sequence[MapRow], path: Target, *, captions: Sequence[str]
) -> None:
    """Draw images with their boxes, and below them the maps and boxes of each network.

    ``images`` (N, h, w, 3) in [0, 1] have the size of the maps; ``truth`` holds the boxes (k, 4) of each in pixels,
    drawn white; a found box is blue where it matches by at least 0.5, else dashed and vermilion. The legend says so.
    """
    count = len(images)
    with drawing(path, width=max(0.9 + 1.5 * count, 4.6), height=0.9 + 1.7 * (len(rows) + 1)) as figure:
        grid = figure.subplots(len(rows) + 1, count, squeeze=False)
        for axes, image, boxes, caption in zip(grid[0], images, truth, captions, strict=True):
            _draw_image(axes, image, boxes, caption)
        for line, row in zip(grid[1:], rows, strict=True):
            for number, axes in enumerate(line):
                text = f"{row.match[number]:.2f}{'' if row.correct[number] else ', wrong class'}"
                _draw_image(axes, images[number], truth[number], text)
                axes.imshow(row.maps[number], cmap=SEQUENTIAL, alpha=0.5, vmin=0, vmax=1)
                _draw_box(axes, row.boxes[number], _FOUND if row.match[number] >= 0.5 else _MISSED)
            name_row(line[0], "\n".join(fold(part, width=18) for part in row.name.splitlines()))
        name_row(grid[0, 0], "true boxes")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize=7, labelcolor=INK)


def _draw_image(axes: Any, image: np.ndarray, truth: np.ndarray, text: str) -> None:
    show_image(axes, image, text)
    height, width = image.shape[:2]
    axes.set(xlim=(-4, width + 3), ylim=(height + 3, -4))  # boxes along the border stay in sight
    for box in truth:
        _draw_box(axes, box, _TRUTH)


def _legend() -> list[Any]:
    """What each line is, and what the colours of the maps are; the number below an image is its IoU."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    boxes = [
        Line2D([], [], color=colour, linestyle=style, path_effects=_rim(colour), label=name)
        for name, colour, style in (_TRUTH, _FOUND, _MISSED)
    ]
    scores = [Patch(color=colormaps[SEQUENTIAL](float(end)), label=f"score {end}") for end in (0, 1)]
    return [*boxes, *scores, Line2D([], [], linestyle="none", label="number: IoU")]


def _rim(colour: str) -> list[Any]:
    """A thin edge of the other lightness around a line."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=2.8, foreground=INK if colour == CARD else CARD), Normal()]


def _draw_box(axes: Any, box: np.ndarray, look: tuple[str, str, Any]) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = (int(corner) for corner in box)
    # pixel centres are whole numbers: a box reaches half a pixel beyond the corners that belong to it
    _, colour, style = look
    corner, width, height = (x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1
    line = {"fill": False, "edgecolor": colour, "linestyle": style, "linewidth": 1.4}
    axes.add_patch(Rectangle(corner, width, height, **line, path_effects=_rim(colour)))
