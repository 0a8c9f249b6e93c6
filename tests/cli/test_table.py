"""Tables in terminals of any width: names and numbers are whole, or the table is a list."""

import re
import sys
from typing import Any

import pytest

from alignmixup.cli.compare.table import print_table
from alignmixup.cli.table import new_table, show

NAMES = ["baseline", "mixup", "manifold_mixup", "cutmix", "alignmixup", "alignmixup,epsilon=0.05,layer=stage4"]


def row(name: str, number: int) -> dict[str, Any]:
    values = {
        key: 0.78 + number + digit / 100
        for digit, key in enumerate(("last10_error_percent", "best_error_percent", "last_error_percent"))
    }
    spread = dict.fromkeys(values, 0.78)
    mean = values | {"seconds": 12.3, "images_per_second": 4567.8}
    return {
        "name": name,
        "seeds": [0, 1, 2],
        "mean": mean,
        "spread": spread,
        "difference": {"mean": values, "spread": spread} if number else None,
        "published_error_percent": 24.25 if number else None,
    }


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    return use


@pytest.mark.parametrize("names", [NAMES[:5], NAMES])
@pytest.mark.parametrize("width", [*range(20, 140, 6), 40, 60, 80, 120, 200])
def test_no_name_and_no_number_is_cut(
    names: list[str], width: int, terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(width)
    print_table({"data": "digits", "methods": [row(name, k) for k, name in enumerate(names)], "seconds": 93.0})
    out = plain(capsys.readouterr().out)
    lines = out.splitlines()
    for number, name in enumerate(names):
        own = next(k for k, line in enumerate(lines) if name in re.split(r"[\s│┃]+", line))
        following = " ".join(lines[own : own + 12])
        assert f"{0.78 + number:.2f} ± 0.78" in following, f"{name} at {width}"
    assert "…" not in out
    assert not re.search(r"\d ± 0\.7\b", out)
    if width >= 80 and names == NAMES[:5]:
        assert "┃" in out, "five methods fit 80 columns as a table"
    if width >= 40:
        numbers = [line for line in lines if re.search(r"\d ±", line)]
        assert max(map(len, numbers)) <= width


def test_what_is_left_out_is_said(terminal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    methods = [row(name, k) for k, name in enumerate(NAMES[:5])]
    terminal(80)
    print_table({"data": "digits", "methods": methods, "seconds": 93.0})
    assert "too narrow here for: error % (last)" in capsys.readouterr().out
    terminal(200)
    print_table({"data": "digits", "methods": methods, "seconds": 93.0})
    assert "too narrow" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_texts_are_folded_and_names_are_not(width: int, terminal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    terminal(width)
    table = new_table("method", "what it does", left=("what it does",), box=None, pad_edge=False)
    table.add_row("manifold_mixup", "interpolates the features of a random layer, " * 3)
    show(table)
    out = plain(capsys.readouterr().out)
    assert "manifold_mixup" in out
    assert out.replace("\n", " ").split().count("features") == 3
    assert max(map(len, out.splitlines())) <= width


def test_a_file_has_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({"data": "digits", "methods": [row(name, k) for k, name in enumerate(NAMES)], "seconds": 93.0})
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
    assert "(last)" in out
    assert "\x1b" not in out
