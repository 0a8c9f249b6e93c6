"""Colours that can be read, and told apart by every kind of colour vision."""

import ast
import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import is_color_like

from alignmixup.figures import palette
from alignmixup.figures.correspondence import position_colours
from alignmixup.figures.palette import DARK, DASHES, LIGHT, SEQUENTIAL, SERIES, dashes, series

SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
# Machado, Oliveira, Fernandes 2009: what linear RGB becomes without one kind of cone
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    return decoded(np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]))


def decoded(parts):
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    x, y, z = np.cbrt(XYZ @ rgb.clip(0, 1) / XYZ.sum(1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@SCHEMES
def test_contrast_meets_wcag_aa(scheme):
    for back in ("page", "card", "best", "code"):
        for text in ("ink", "soft"):
            assert contrast(scheme[text], scheme[back]) >= 4.5, (text, back)
    for number in range(SERIES):
        assert contrast(scheme[f"s{number}"], scheme["card"]) >= 3, number  # graphics


@SCHEMES
@pytest.mark.parametrize("vision", VISIONS)
def test_series_differ_for_every_kind_of_colour_vision(scheme, vision):
    seen = [lab(np.asarray(VISIONS[vision]) @ linear(scheme[f"s{number}"])) for number in range(SERIES)]
    pairs = itertools.combinations(range(SERIES), 2)
    assert {(a, b) for a, b in pairs if np.linalg.norm(seen[a] - seen[b]) < 15} == set()


def test_both_schemes_name_the_same_and_no_colour_has_two_names():
    assert set(LIGHT) == set(DARK)
    assert len(set(LIGHT.values())) == len(LIGHT)  # else one of its variables could not be found from the colour


def test_a_colour_that_comes_again_has_another_line():
    looks = {(series(number), dashes(number)) for number in range(SERIES * len(DASHES))}
    assert len(looks) == SERIES * len(DASHES)
    assert dashes(SERIES - 1) == "solid"


@pytest.mark.parametrize("vision", VISIONS)
def test_positions_of_a_map_differ_for_every_kind_of_colour_vision(vision):
    colours = [lab(np.asarray(VISIONS[vision]) @ decoded(colour)) for colour in position_colours((4, 4))]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(colours, 2)) > 10


@pytest.mark.parametrize("vision", VISIONS)
def test_numbers_in_colour_are_told_by_lightness(vision):
    colours = mpl.colormaps[SEQUENTIAL](np.linspace(0, 1, 9))[:, :3]
    lightness = [lab(np.asarray(VISIONS[vision]) @ decoded(colour))[0] for colour in colours]
    assert np.diff(lightness).min() > 5


ROOM = Path(palette.__file__).parents[1]
DRAWING = [
    file
    for file in ROOM.rglob("*.py")
    if "figures" in file.read_text(encoding="utf-8") or "colour" in file.read_text(encoding="utf-8")
]


def is_colour(text):
    is_name = len(text) > 1 and text != "none" and not text.replace(".", "").isdigit()
    return is_name and (is_color_like(text) or text in mpl.colormaps)


@pytest.mark.parametrize("file", DRAWING, ids=lambda file: file.relative_to(ROOM).as_posix())
def test_no_figure_has_a_colour_that_is_not_of_the_palette(file):
    """Also what is told apart by colour alone is tested above only as long as all colours are there."""
    if file == Path(palette.__file__):
        return
    texts = [
        node.value for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    ]
    assert [text for text in texts if isinstance(text, str) and is_colour(text)] == []
