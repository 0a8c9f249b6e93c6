"""What several figures do with their axes."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from alignmixup.figures.palette import INK

_PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))  # of a name, seen from its point


def panels(figure: Any, count: int, *, columns: int) -> list[Any]:
    """Axes in rows of at most ``columns``."""
    columns = min(columns, count)
    grid = list(figure.subplots(-(-count // columns), columns, squeeze=False).flat)
    for spare in grid[count:]:
        spare.remove()
    return grid[:count]


def show_image(axes: Any, image: Any, text: str = "", **options: Any) -> None:
    """An image in a thin frame, with a text below it; ``options`` are those of ``imshow``."""
    axes.imshow(image, **options)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=0.5)
    axes.set_xlabel(text, fontsize=7, labelpad=2, color=INK)


def name_row(axes: Any, name: str) -> None:
    """A name to the left of a row of images."""
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8, color=INK)


def log_where_wide(axes: Any, which: str, values: Sequence[float]) -> None:
    """A logarithmic axis ("x" or "y") where these values are above 0 and span a factor of 4; its numbers are plain: 60.

    Everything must be on the axes, since the ticks are chosen for what is there.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    if not values or min(values) <= 0 or max(values) < 4 * min(values):
        return
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if high < 30 * low else (1, 2, 5), numticks=20))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def count_along(axes: Any, what: str) -> None:
    """Whole numbers along the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(what)


def legend_below(figure: Any, axes: Any, *, columns: int = 2) -> None:
    """A legend that covers no curve."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def fold(name: str, *, width: int = 24, lines: int = 2) -> str:
    """A name in so many short lines, also broken behind commas; what does not fit is cut."""
    return textwrap.fill(re.sub(r", *", ", ", name), width, max_lines=lines, placeholder="…")


def name_ends(axes: Any, names: Sequence[str]) -> None:
    """Name each line of the axes to the right of its end; names that would touch are pushed apart."""
    texts = [fold(name, width=17) for name in names]
    tallest = 0.14 * max(text.count("\n") + 1 for text in texts)
    gap = tallest / (axes.figure.get_figheight() - 0.7)  # as a share of the axes' height in inches
    axes.get_ylim()  # takes the lines into account
    to_axes = axes.transData - axes.transAxes
    ends = [
        (to_axes.transform(line.get_xydata()[-1])[1], line, text) for line, text in zip(axes.lines, texts, strict=True)
    ]
    above = 1 + gap
    for below, (y, line, text) in zip(range(len(ends))[::-1], sorted(ends, key=lambda end: -end[0]), strict=True):
        above = max(min(y, above - gap), below * gap)  # the names below need their room
        leader = {"arrowstyle": "-", "color": line.get_color(), "relpos": (0, 0.5), "shrinkA": 1, "linewidth": 0.8}
        style = {"fontsize": 8, "linespacing": 1, "va": "center"}
        axes.annotate(text, line.get_xydata()[-1], (1.05, above), "data", "axes fraction", leader, **style)


def name_points(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Name points beside them, where no other name or point is; a name without room is left out.

    Args:
        axes: complete but for these names, since the room is measured.
        points: x, y and name.
    """
    axes.figure.draw_without_rendering()  # lays the axes out
    point = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    at = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [(x - 4 * point, y - 4 * point, x + 4 * point, y + 4 * point) for x, y in at]
    for (x, y), (*data, name) in sorted(zip(at, points, strict=True), key=lambda pair: -pair[0][1]):
        text = axes.annotate(fold(name, width=18), data, (0, 0), textcoords="offset points", fontsize=8, linespacing=1)
        box = text.get_window_extent()
        for right, up in _PLACES:
            left = x + 6 * point * right + box.width * (right - 1) / 2
            base = y + 6 * point * up + box.height * (up - 1) / 2
            corners = (left, base, left + box.width, base + box.height)
            inside = left > frame.x0 and base > frame.y0 and corners[2] < frame.x1 and corners[3] < frame.y1
            if inside and not any(_overlap(corners, other) for other in taken):
                text.set_position(((left - x) / point, (base - y) / point))
                taken.append(corners)
                break
        else:
            text.remove()


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
