"""Every colour of figures and pages, light and dark, told from its neighbours by every kind of colour vision."""

from typing import Any

LIGHT = {
    "page": "#fbfbf9", "card": "#ffffff", "ink": "#1b1d21", "soft": "#565b64", "rule": "#dcdcd6", "grid": "#e9e9e4",
    "accent": "#0b5cad", "best": "#eaf2fb", "code": "#f2f2ee",
    "s0": "#8e8b89", "s1": "#2277d3", "s2": "#b53c0a", "s3": "#00653e", "s4": "#8b2c75", "s5": "#ae923c",
    "s6": "#14a2c4", "s7": "#59199c",
}  # fmt: skip
DARK = {
    "page": "#15171a", "card": "#1d2024", "ink": "#e9eaec", "soft": "#a5abb4", "rule": "#363a41", "grid": "#2a2e33",
    "accent": "#7db8f5", "best": "#1f2f42", "code": "#24282d",
    "s0": "#7e7e78", "s1": "#36a8f9", "s2": "#f28b62", "s3": "#4af5b6", "s4": "#e3a1d0", "s5": "#d4eb5d",
    "s6": "#d0ffff", "s7": "#735ef3",
}  # fmt: skip
SERIES = 8
CARD, INK, SOFT, GRID = (LIGHT[name] for name in ("card", "ink", "soft", "grid"))
FIRST, SECOND = LIGHT["s1"], LIGHT["s2"]  # where two things are told apart
# of positions of a map, from its corners: light above and dark below, warm on the left and cold on the right
CORNERS = ("#fff08a", "#8fd3ff", "#b03a00", "#1a0a8f")
SEQUENTIAL = "viridis"  # of numbers, by lightness
# lengths of ink and gap, in line widths; the first is solid
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))


def series(number: int) -> str:
    """Colour of the curve or bar of that number."""
    return LIGHT[f"s{number % SERIES}"]


def dashes(number: int) -> Any:
    """Line style of that number: a colour that comes again is dashed."""
    lengths = DASHES[number // SERIES % len(DASHES)]
    return (0, lengths) if lengths else "solid"
