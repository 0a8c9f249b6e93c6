"""Figures inside a page."""

import re
import xml.etree.ElementTree as ET
from functools import partial
from typing import IO

from alignmixup.figures.inline import inline_svg
from alignmixup.figures.palette import LIGHT, SERIES, series
from alignmixup.figures.save import drawing


def draw(file: IO[str], *, name: str = "a < b & c") -> None:
    with drawing(file, width=3, height=2) as figure:
        axes = figure.subplots()
        for number in range(SERIES):
            axes.plot([1, 2], [number, 3], "o-", color=series(number), gid=f'{name}, "seed {number}"')
        axes.bar([1], [2], color="none", edgecolor=series(1), hatch="//", label=name)
        axes.fill_between([1, 2], [0, 0], [1, 2], color=series(2), alpha=0.2)
        axes.legend()


def test_every_colour_is_a_variable_of_the_page() -> None:
    svg = inline_svg(draw, label="x")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?!-)", re.sub(r"#[mhp]\w+-\w+", "", svg))
    assert not re.search(r"\brgba?\(", svg)
    used = set(re.findall(r"var\(--(\w+)\)", svg))
    assert {f"s{number}" for number in range(SERIES)} | {"ink", "soft", "grid", "card"} <= used <= set(LIGHT)


def test_it_refers_to_nothing_outside_and_its_names_are_its_own() -> None:
    first, second = inline_svg(draw, label="x"), inline_svg(draw, label="y")
    assert "http" not in first
    assert "<style" not in first  # would hold for the whole page
    assert "font-family" not in first
    defined = [set(re.findall(r'id="([^"]*)"', svg)) for svg in (first, second)]
    assert defined[0]
    assert not defined[0] & defined[1]
    assert {name for pair in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', first) for name in pair if name} <= defined[
        0
    ]


def test_texts_are_texts_and_escaped_and_marks_have_tooltips() -> None:
    root = ET.fromstring(inline_svg(draw, label='say "x" & y'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'say "x" & y')
    assert root.get("viewBox") == "0 0 216 144"
    assert root.get("width") is None  # as wide as the page has room
    assert "a < b & c" in [text.text for text in root.iter("text")]
    assert [title.text for title in root.iter("title")] == [f'a < b & c, "seed {n}"' for n in range(SERIES)]


def test_the_same_figure_is_the_same_text() -> None:
    assert inline_svg(draw, label="x") == inline_svg(partial(draw), label="x")
