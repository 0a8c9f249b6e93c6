"""Which positions of two images an alignment matches: lines, a colour-coded field, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignmixup.figures.axes import show_image
from alignmixup.figures.palette import CARD, CORNERS, SEQUENTIAL
from alignmixup.figures.save import Target, drawing
from alignmixup.outside import require

_TINT = 0.75  # share of a position's colour; the rest is the image
_HEADINGS = (
    "A, B and the surest matches",
    "positions of B in colour",
    "…that those of A take",
    "doubt (dark: one position)",
)


@dataclass(frozen=True)
class Match:
    """One pair of images (2, H, W, 3) in [0, 1], the classes of A and B, and its alignment on maps of ``size`` (h, w).

    The positions may be cells of larger maps. Rows of the assignment R (h w, h w) are positions of A, columns positions
    of B; ``distance`` (h w,) is that of the features that each row matches, ``entropy`` (h w,) that of the row, in
    nats; ``caption`` stands below it.
    """

    names: tuple[str, str]
    images: np.ndarray
    size: tuple[int, int]
    assignment: np.ndarray
    distance: np.ndarray
    entropy: np.ndarray
    caption: str


def position_colours(size: tuple[int, int]) -> np.ndarray:
    """A colour for each position of a map of ``size``, (h w, 3), mixed from those of the corners."""
    corners = np.array([require("matplotlib.colors").to_rgb(colour) for colour in CORNERS])
    down, right = (np.linspace(0, 1, side) if side > 1 else np.array([0.5]) for side in size)
    vertical, horizontal = (np.stack([1 - at, at], axis=1) for at in (down, right))
    field = np.einsum("ka,lb,abc->klc", vertical, horizontal, corners.reshape(2, 2, 3))
    return np.asarray(field.reshape(-1, 3))


def strongest(assignment: np.ndarray, distance: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` largest entries of an assignment with at most one for each row, as (count, 2) rows and columns.

    Of entries that are alike to a hundredth, as all of a permutation are, those of the smallest ``distance`` are taken.
    """
    partner = assignment.argmax(axis=1)
    rows = np.lexsort((distance, -assignment.max(axis=1).round(2)))[:count]
    return np.stack([rows, partner[rows]], axis=1)


def draw_matches(matches: Sequence[Match], path: Target, *, lines: int = 12, title: str = "") -> None:
    """Draw each pair as a row of panels.

    The panels: both images with so many ``lines`` between the surest matches; B with each position in a colour of its
    own; A with the colours of the positions of B that its positions take, mixed as the assignment mixes; and the
    entropy of each position's match, dark at 0 (one partner position) and bright at log r (all alike).
    """
    widths = [2.1, 1.0, 1.0, 1.0]
    with drawing(path, width=1.95 * sum(widths) + 0.4, height=2.2 * len(matches) + 0.4) as figure:
        grid = figure.subplots(len(matches), len(widths), squeeze=False, width_ratios=widths)
        for row, match in zip(grid, matches, strict=True):
            _draw_row(row, match, lines=lines)
        for axes, heading in zip(grid[0], _HEADINGS, strict=True):
            axes.set_title(heading, fontsize=8)
        figure.suptitle(title, fontsize=8)


def _draw_row(row: Any, match: Match, *, lines: int) -> None:
    colours = position_colours(match.size)
    weights = match.assignment / match.assignment.sum(axis=1, keepdims=True)
    doubt = match.entropy.reshape(match.size)
    _draw_lines(row[0], match, strongest(weights, match.distance, lines), colours)
    show_image(row[1], _tinted(match.images[1], colours, match.size), "B")
    show_image(row[2], _tinted(match.images[0], weights @ colours, match.size), "A")
    show_image(row[3], doubt, match.caption, cmap=SEQUENTIAL, vmin=0, vmax=np.log(len(weights)))


def _draw_lines(axes: Any, match: Match, pairs: np.ndarray, colours: np.ndarray) -> None:
    """Both images side by side; a line has the colour of the position of B where it ends."""
    height, width = match.images.shape[1:3]
    gap = width // 10 + 1
    both = np.concatenate([match.images[0], np.ones((height, gap, 3)), match.images[1]], axis=1)
    show_image(axes, both, f"A: {match.names[0]}, B: {match.names[1]}", vmin=0, vmax=1)
    axes.set_frame_on(False)
    scale = np.array([height / match.size[0], width / match.size[1]])
    for first, partner in pairs:
        (y0, x0), (y1, x1) = (
            (np.array(divmod(int(position), match.size[1])) + 0.5) * scale - 0.5 for position in (first, partner)
        )
        ends = {"color": colours[partner], "markersize": 4, "markeredgecolor": CARD, "markeredgewidth": 0.5}
        axes.plot([x0, x1 + width + gap], [y0, y1], "o-", linewidth=1.1, **ends)


def _tinted(image: np.ndarray, colours: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image in grey under colours (h w, 3) of its positions."""
    height, width = image.shape[:2]
    down, right = (np.arange(side) * count // side for side, count in zip((height, width), size, strict=True))
    field = colours.reshape(*size, 3)[down][:, right]
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray((_TINT * field + (1 - _TINT) * grey).clip(0, 1))
