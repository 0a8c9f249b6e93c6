"""Figures without a display: the kind of file that their ending asks for, and parts of a page."""

import importlib
import io
import re
import sys
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from alignmixup.figures.palette import INK, LIGHT, SERIES, series
from alignmixup.figures.save import check_format, drawing, inline_svg


def draw(target: str | Path | io.StringIO) -> None:
    with drawing(target, width=2, height=1) as figure:
        figure.subplots().set_title("$a_b$")


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("SVG", b"<?xml")]
)
def test_the_ending_says_the_kind_and_the_same_drawing_is_the_same_file(
    tmp_path: Path, ending: str, start: bytes
) -> None:
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file in files:
        draw(file)
    first, second = (file.read_bytes() for file in files)
    assert first.startswith(start)
    assert first == second


def test_a_name_is_a_file(tmp_path: Path) -> None:
    draw(str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_png_has_150_dots_per_inch(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    with importlib.import_module("PIL.Image").open(tmp_path / "a.png") as opened:
        assert opened.size == (300, 150)


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.gif"])
def test_other_endings_are_refused_before_anything_is_drawn(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"written as \.png, \.pdf or \.svg, got .*{name}$"):
        check_format(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.png"), drawing(tmp_path / name, width=1, height=1):
        raise AssertionError("the block ran")


def test_a_pdf_embeds_truetype(tmp_path: Path) -> None:
    draw(tmp_path / "a.pdf")
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()


def test_texts_keep_their_dollars_and_have_the_house_colour() -> None:
    file = io.StringIO()
    draw(file)
    assert ">$a_b$</text>" in file.getvalue()
    assert f"fill: {INK}" in file.getvalue()


def test_nothing_is_written_where_drawing_fails_and_no_setting_stays(tmp_path: Path) -> None:
    matplotlib = importlib.import_module("matplotlib")
    before = dict(matplotlib.rcParams)
    with pytest.raises(KeyError), drawing(tmp_path / "a.png", width=1, height=1):
        raise KeyError
    assert not (tmp_path / "a.png").exists()
    assert dict(matplotlib.rcParams) == before


def test_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'matplotlib is needed .*pip install "alignmixup\[train\]"'):
        draw(tmp_path / "a.png")


def draw_much(file: IO[str], *, name: str = "a < b & c") -> None:
    with drawing(file, width=3, height=2) as figure:
        axes = figure.subplots()
        for number in range(SERIES):
            axes.plot([1, 2], [number, 3], "o-", color=series(number), gid=f'{name}, "seed {number}"')
        axes.bar([1], [2], color="none", edgecolor=series(1), hatch="//", label=name)
        axes.fill_between([1, 2], [0, 0], [1, 2], color=series(2), alpha=0.2)
        axes.legend()


def test_every_colour_is_a_variable_of_the_page() -> None:
    svg = inline_svg(draw_much, label="x")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?!-)", re.sub(r"#[mhp]\w+-\w+", "", svg))
    assert not re.search(r"\brgba?\(", svg)
    used = set(re.findall(r"var\(--(\w+)\)", svg))
    assert {f"s{number}" for number in range(SERIES)} | {"ink", "soft", "grid", "card"} <= used <= set(LIGHT)


def test_it_refers_to_nothing_outside_and_its_names_are_its_own() -> None:
    first, second = inline_svg(draw_much, label="x"), inline_svg(draw_much, label="y")
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
    root = ET.fromstring(inline_svg(draw_much, label='say "x" & y'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'say "x" & y')
    assert root.get("viewBox") == "0 0 216 144"
    assert root.get("width") is None  # as wide as the page has room
    assert "a < b & c" in [text.text for text in root.iter("text")]
    assert [title.text for title in root.iter("title")] == [f'a < b & c, "seed {n}"' for n in range(SERIES)]


def test_the_same_figure_is_the_same_text() -> None:
    assert inline_svg(draw_much, label="x") == inline_svg(partial(draw_much), label="x")


def test_names_are_shown_as_they_are() -> None:
    name = f'epsilon=0.0051234 {INK} id="x" url(#y) font-family: z; #123456'
    root = ET.fromstring(inline_svg(partial(draw_much, name=name), label=name))
    assert name in [text.text for text in root.iter("text")]
    assert next(title.text for title in root.iter("title")) == f'{name}, "seed 0"'
    assert root.get("aria-label") == name
