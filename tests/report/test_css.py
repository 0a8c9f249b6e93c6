"""The style sheet."""

import re

import pytest

from alignmixup.report.css import STYLE, series_rules
from alignmixup.report.svg import SERIES

LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_meets_wcag_aa(colors: dict[str, str]) -> None:
    for back in ("page", "card", "best", "code"):
        for text in ("ink", "soft"):
            assert contrast(colors[text], colors[back]) >= 4.5, (text, back)
    for number in range(SERIES):
        assert contrast(colors[f"s{number}"], colors["card"]) >= 3, number  # graphics


def test_both_themes_define_the_same_and_nothing_comes_from_elsewhere() -> None:
    assert set(LIGHT) == set(DARK)
    assert set(re.findall(r"var\(--(\w+)\)", STYLE + series_rules(SERIES))) <= set(LIGHT)
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert STYLE.count("{") == STYLE.count("}")
