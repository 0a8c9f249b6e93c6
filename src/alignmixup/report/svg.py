"""A chart as inline SVG: axes, grid, and what is drawn on them. Colours are CSS variables, so it follows the page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from alignmixup.report.html import escape

WIDTH, HEIGHT = 440, 300
SERIES = 10  # colours of series that the style sheet has
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 40
TEXT = 7.2  # width of a character of a label


@dataclass(frozen=True)
class Scale:
    """From values to pixels, linear or logarithmic.

    Args:
        low, high: the ends of the axis.
        start, end: their pixels.
        log: logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values between the ends, about five."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def fit_scale(values: Sequence[float], start: float, end: float, *, log: bool = False, margin: float = 0.06) -> Scale:
    """An axis that shows all values with some room; logarithmic where asked and where all are above 0.

    Args:
        values: at least one.
        start: pixel of the smallest.
        end: pixel of the largest.
        log: logarithmic if the values spread over a factor of 4 or more.
        margin: room at both ends, as a share of the axis.
    """
    low, high = min(values), max(values)
    if log and low > 0 and high / low >= 4:
        room = math.log(high / low) * margin
        return Scale(low * math.exp(-room), high * math.exp(room), start, end, log=True)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return Scale(low - room if low < 0 or low > room else 0.0, high + room, start, end)


@dataclass
class Chart:
    """Axes with a grid; `marks` collects what is drawn on them, in order.

    Args:
        x, y: scales, in pixels of a chart of ``WIDTH`` x ``height``.
        x_label, y_label: what the axes show.
        title: said to those who cannot see the chart.
        height: in pixels.
        rows: names along the vertical axis, in place of numbers; each is one unit high.
    """

    x: Scale
    y: Scale
    x_label: str
    y_label: str
    title: str
    height: float = HEIGHT
    rows: Sequence[str] = ()
    marks: list[str] = field(default_factory=list)

    def line(self, points: Sequence[tuple[float, float]], series: int) -> None:
        """A polyline in the colour of a series; a second round of colours is dashed."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.marks.append(f'<polyline class="line {_series(series)}" points="{path}"/>')

    def band(self, points: Sequence[tuple[float, float, float]], series: int) -> None:
        """The area between the second and the third coordinate."""
        there = [f"{self.x(x):.1f},{self.y(low):.1f}" for x, low, _ in points]
        back = [f"{self.x(x):.1f},{self.y(high):.1f}" for x, _, high in reversed(points)]
        self.marks.append(f'<polygon class="band {_series(series)}" points="{" ".join([*there, *back])}"/>')

    def dot(self, x: float, y: float, series: int, *, title: str, radius: float = 4.5, faint: bool = False) -> None:
        """A point, which says ``title`` under the mouse."""
        self.marks.append(
            f'<circle class="dot {_series(series)}{" faint" if faint else ""}" cx="{self.x(x):.1f}" '
            f'cy="{self.y(y):.1f}" r="{radius}"><title>{escape(title)}</title></circle>'
        )

    def diamond(self, x: float, y: float, *, title: str) -> None:
        """A hollow diamond: a number that is not ours."""
        px, py = self.x(x), self.y(y)
        self.marks.append(
            f'<path class="reported" d="M{px - 6:.1f} {py:.1f}L{px:.1f} {py - 6:.1f}L{px + 6:.1f} {py:.1f}'
            f'L{px:.1f} {py + 6:.1f}Z"><title>{escape(title)}</title></path>'
        )

    def bar(self, x: tuple[float, float], y: tuple[float, float], series: int) -> None:
        """A straight bar, such as an error bar."""
        self.marks.append(
            f'<line class="bar {_series(series)}" x1="{self.x(x[0]):.1f}" y1="{self.y(y[0]):.1f}" '
            f'x2="{self.x(x[1]):.1f}" y2="{self.y(y[1]):.1f}"/>'
        )

    def area(self, x: tuple[float, float], y: tuple[float, float], series: int) -> None:
        """A filled rectangle."""
        left, top = self.x(x[0]), self.y(max(y))
        width, height = self.x(x[1]) - left, abs(self.y(y[0]) - self.y(y[1]))
        box = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.marks.append(f'<rect class="area {_series(series)}" {box}/>')

    def text(self, px: float, py: float, text: str, *, anchor: str = "start", kind: str = "label") -> None:
        """Text at a place in pixels."""
        self.marks.append(
            f'<text class="{kind}" x="{px:.1f}" y="{py:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def render(self) -> str:
        """The SVG element."""
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-label="{escape(self.title)}">'
            f"{self._axes()}{''.join(self.marks)}</svg>"
        )

    def _axes(self) -> str:
        left, right, top, bottom = self.x.start, self.x.end, self.y.end, self.y.start
        if self.rows:
            top, bottom = self.y.start, self.y.end
        parts = []
        for value in self.x.ticks():
            at = self.x(value)
            parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top:.1f}" x2="{at:.1f}" y2="{bottom:.1f}"/>')
            place = f'x="{at:.1f}" y="{bottom + 15:.1f}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{value:g}</text>')
        named = list(enumerate(self.rows)) if self.rows else [(value, f"{value:g}") for value in self.y.ticks()]
        for value, name in named:
            at = self.y(value)
            parts.append(f'<line class="grid" x1="{left:.1f}" y1="{at:.1f}" x2="{right:.1f}" y2="{at:.1f}"/>')
            kind, lines = ("label", _fold(name, left - 14)) if self.rows else ("tick", [name])
            for number, line in enumerate(lines):
                place = f'x="{left - 7:.1f}" y="{at + 4 + 13 * (number - (len(lines) - 1) / 2):.1f}"'
                parts.append(f'<text class="{kind}" {place} text-anchor="end">{escape(line)}</text>')
        middle = (left + right) / 2
        parts.append(
            f'<text class="axis" x="{middle:.1f}" y="{self.height - 6:g}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
        )
        if self.y_label:
            at = (top + bottom) / 2
            turn = f'transform="translate(12 {at:.1f}) rotate(-90)"'
            parts.append(f'<text class="axis" {turn} text-anchor="middle">{escape(self.y_label)}</text>')
        return "".join(parts)


def plot(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log_x: bool = False,
    log_y: bool = False,
) -> Chart:
    """A chart whose axes hold these values; see `fit_scale` for the logarithmic ones."""
    x = fit_scale(xs, _LEFT, WIDTH - _RIGHT, log=log_x, margin=0.04)
    y = fit_scale(ys, HEIGHT - _BOTTOM, _TOP, log=log_y)
    return Chart(x, y, x_label, y_label, title)


def row_plot(xs: Sequence[float], rows: Sequence[str], *, x_label: str, title: str) -> Chart:
    """A chart with one line a name, from top to bottom."""
    left = min(190.0, 14 + TEXT * max(len(name) for name in rows))
    height = 52 + len(rows) * max(26.0, min(44.0, (HEIGHT - 52) / len(rows)))
    x = fit_scale(xs, left, WIDTH - _RIGHT)
    y = Scale(-0.5, len(rows) - 0.5, 6, height - _BOTTOM)
    return Chart(x, y, x_label, "", title, height=height, rows=rows)


def _fold(name: str, width: float) -> list[str]:
    """A name in at most two lines of that many pixels; what does not fit is cut."""
    lines = textwrap.wrap(name, int(width / TEXT)) or [name]
    return lines if len(lines) <= 2 else [lines[0], f"{lines[1][: int(width / TEXT) - 1]}…"]


def _series(number: int) -> str:
    return f"s{number % SERIES}" + (" again" if number >= SERIES else "")


def _linear_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = power * min((1, 2, 2.5, 5, 10), key=lambda factor: abs(factor - raw / power))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        ticks = [float(f"{factor * 10.0**power:g}") for power in powers for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4:
            return inside
    return inside
