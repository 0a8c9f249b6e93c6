"""Three paths of feature maps between two images: decoded, as picture and animation, and what a classifier believes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignmixup.figures.axes import legend_below, panels, show_image
from alignmixup.figures.palette import CARD, FIRST, GRID, INK, SECOND, SOFT
from alignmixup.figures.save import Target, drawing
from alignmixup.files import write_atomically
from alignmixup.outside import require

_COLOURS = (FIRST, SECOND)  # of the first example and of its partner, wherever their classes are named
_ROWS = {"first": "aligned,\ngeometry of A", "partner": "aligned,\ngeometry of B", "none": "not aligned"}
_HEADINGS = ("A", "aligned, geometry of A", "not aligned", "aligned, geometry of B", "B")

_LINES = {
    "first": ("aligned, geometry of A", FIRST, "-"),
    "partner": ("aligned, geometry of B", SECOND, "-"),
    "none": ("not aligned", INK, "--"),
}
_PANELS = {
    "either": "probability of A's or B's class",
    "own": "probability of A's class",
    "partner": "probability of B's class",
    "entropy": "entropy (nats)",
    "decoded_either": "A's or B's class, decoded images",
    "sharpness": "sharpness of decoded images",
}
_COLUMNS = 4  # of panels


@dataclass(frozen=True)
class Morph:
    """One pair of images, the classes ``names`` of A and B, and its three paths: "first", "partner" and "none".

    ``originals`` and ``reconstructions``, the decoder's images of their unmixed maps, are (2, H, W, 3) in [0, 1]; of
    each path, ``frames`` (T, H, W, 3) are decoded maps and ``probs`` (T, 2) the probabilities of both classes at each.
    """

    names: tuple[str, str]
    originals: np.ndarray
    reconstructions: np.ndarray
    frames: Mapping[str, np.ndarray]
    probs: Mapping[str, np.ndarray]


def draw_morphs(morphs: Sequence[Morph], lam: Sequence[float], path: Target, *, title: str = "") -> None:
    """Draw each pair as three rows of images; ``lam`` (T,), the weights of A, stands above the columns."""
    gap, side = 0.22, 0.78
    widths, heights = [1.0, gap, *[1.0] * len(lam), gap, 1.0], [1.0, 1.0, 1.0, 0.25] * len(morphs)
    with drawing(path, width=side * sum(widths) + 1.1, height=1.16 * side * sum(heights) + 0.9) as figure:
        grid = figure.subplots(len(heights), len(widths), squeeze=False, width_ratios=widths, height_ratios=heights)
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0, hspace=0)
        for axes in grid.flat:
            axes.set_axis_off()
        for number, morph in enumerate(morphs):
            _draw_block(grid[4 * number : 4 * number + 3], morph)
        for axes, value in zip(grid[0][2:-2], lam, strict=True):
            axes.set_title(f"λ = {value:g}" if value in (0, 1) else f"{value:.2g}", fontsize=7)
        figure.suptitle(title, fontsize=8)


def _draw_block(grid: Any, morph: Morph) -> None:
    for end, (column, letter) in enumerate(((0, "A"), (-1, "B"))):
        show_image(grid[0][column], morph.originals[end], vmin=0, vmax=1)
        show_image(grid[1][column], morph.reconstructions[end], vmin=0, vmax=1)
        grid[0][column].set_title(f"{letter}: {morph.names[end]}", fontsize=7, color=_COLOURS[end])
        _write(grid[1][column], 0.5, -0.05, "reconstructed", ha="center", va="top")
    for line, (name, label) in zip(grid, _ROWS.items(), strict=True):
        _write(line[0], -0.12, 0.5, label, ha="right", va="center", fontsize=7)
        for axes, image, (first, partner) in zip(line[2:-2], morph.frames[name], morph.probs[name], strict=True):
            show_image(axes, image, vmin=0, vmax=1)
            _write(axes, 0.02, -0.04, f"{100 * first:.0f}", ha="left", va="top", color=_COLOURS[0])
            _write(axes, 0.98, -0.04, f"{100 * partner:.0f}", ha="right", va="top", color=_COLOURS[1])


def _write(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, transform=axes.transAxes, **{"fontsize": 6} | style)


def draw_confidence(summary: Mapping[str, Any], path: Target, *, title: str = "") -> None:
    """Draw means over pairs against λ, of `summarise_paths`; the bands are one standard error wide either way."""
    lam, paths = summary["lam"], summary["all"]["paths"]
    names = [name for name in _PANELS if name in paths["none"]["curves"]]
    rows = -(-len(names) // _COLUMNS)
    with drawing(path, width=3.1 * min(_COLUMNS, len(names)), height=2.7 * rows + 0.7) as figure:
        grid = panels(figure, len(names), columns=_COLUMNS)
        for axes, name in zip(grid, names, strict=True):
            for which, (label, colour, line) in _LINES.items():
                mean, error = (paths[which]["curves"][name][key] for key in ("mean", "standard_error"))
                axes.plot(lam, mean, line, color=colour, label=label)
                if None not in error:
                    low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
                    axes.fill_between(lam, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.set(xlim=(1, 0), xlabel="λ, weight of A")
            axes.set_title(_PANELS[name])
        legend_below(figure, grid[0], columns=3)
        figure.suptitle(title)


def check_animation(path: Path) -> None:
    """Refuse a file whose ending is neither .gif nor .webp (ValueError), and a machine without Pillow (ImportError)."""
    require("PIL.Image")
    if path.suffix.lower() not in (".gif", ".webp"):
        raise ValueError(f"an animation is written as .gif or .webp, got {path}")


def animate_morphs(morphs: Sequence[Morph], path: Path, *, cell: int = 112, milliseconds: int = 60) -> None:
    """Write an animation (.gif or .webp) that runs from A to B and back, without end: one line for each pair.

    An image is ``cell`` pixels wide, a frame stands for ``milliseconds`` and the two ends for half a second.
    Errors as `check_animation`.
    """
    check_animation(path)
    count = len(next(iter(morphs[0].frames.values())))
    forward = [_frame(morphs, number, count=count, cell=cell) for number in range(count)]
    frames = [*forward, *forward[-2:0:-1]]
    durations = [500 if number in (0, count - 1) else milliseconds for number in range(len(frames))]
    more: dict[str, Any] = {"quality": 75, "method": 4} if path.suffix.lower() == ".webp" else {"optimize": True}
    more |= {"format": path.suffix[1:], "append_images": frames[1:], "duration": durations, "loop": 0}
    write_atomically(path, lambda file: frames[0].save(file, save_all=True, **more))


def _frame(morphs: Sequence[Morph], number: int, *, count: int, cell: int) -> Any:
    """One picture: A, three paths at their frame, B, for each pair, below headings and above the place on the path."""
    image, draw_on, font_of = (require(f"PIL.{name}") for name in ("Image", "ImageDraw", "ImageFont"))
    gap, head, foot = 6, 22, 14
    width = len(_HEADINGS) * (cell + gap) + gap
    canvas = image.new("RGB", (width, head + len(morphs) * (cell + gap) + foot), CARD)
    pen, font = draw_on.Draw(canvas), font_of.load_default(size=max(8, cell // 11))
    for column, heading in enumerate(_HEADINGS):
        colour = {0: _COLOURS[0], 4: _COLOURS[1]}.get(column, INK)
        pen.text((gap + column * (cell + gap) + cell / 2, head / 2), heading, fill=colour, font=font, anchor="mm")
    for row, morph in enumerate(morphs):
        shown = [morph.originals[0], *(morph.frames[name][number] for name in ("first", "none", "partner"))]
        for column, pixels in enumerate([*shown, morph.originals[1]]):
            small = image.fromarray((pixels * 255).round().astype("uint8"))
            place = (gap + column * (cell + gap), head + row * (cell + gap))
            canvas.paste(small.resize((cell, cell), image.Resampling.BICUBIC), place)
    left, right, y = gap + cell + gap, width - cell - 2 * gap, canvas.height - foot / 2
    pen.line((left, y, right, y), fill=GRID, width=2)
    at = left + (right - left) * number / max(1, count - 1)
    pen.ellipse((at - 4, y - 4, at + 4, y + 4), fill=SOFT)
    return canvas
