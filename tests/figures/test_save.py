"""Figures without a display, as the kind of file that their ending asks for."""

import importlib
import io
import sys
from pathlib import Path

import pytest

from alignmixup.figures.palette import INK
from alignmixup.figures.save import check_format, drawing


def draw(target: Path | io.StringIO) -> None:
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
