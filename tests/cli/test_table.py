"""Tables in terminals of any width: names and numbers are whole, or the table is a list."""

import itertools
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alignmixup.benchmarks.report import Report
from alignmixup.cli import _Printable, benchmark, localize, main, morph
from alignmixup.cli.compare.table import print_table
from alignmixup.cli.evaluate import table as evaluated
from alignmixup.cli.table import new_table, show
from alignmixup.runs.localization_report import numbers_of
from alignmixup.terminal import printable

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


def test_a_file_has_it_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table({"data": "digits", "methods": [row(name, k) for k, name in enumerate(NAMES)], "seconds": 93.0})
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
    assert "(last)" in out
    assert "\x1b" not in out


EVALUATED = [
    {
        "run": f"runs/digits/{name}-seed{seed}",
        "method": name,
        "seed": seed,
        "data": "digits",
        "images": 898,
        "error_percent": 4.25 + seed,
        "top5_error_percent": 1.125,
        "cross_entropy": 0.2468,
        "recorded": {"best_error_percent": 3.75, "last10_error_percent": 5.5},
        "corruptions": {"mean_error_percent": 41.37, "images": 500, "mce": {"mce_percent": 95.31}},
    }
    for name in NAMES[:4]
    for seed in (0, 1)
]
BOXES = {
    "contours": {which: {"max_box_acc_percent": 61.72, "max_box_acc_v2_percent": 52.84} for which in ("largest", "all")}
}
LOCALIZED = {
    "data": "cub",
    "images": 5794,
    "centre": BOXES,
    "groups": [
        {"name": name, "mean": numbers_of(BOXES), "spread": numbers_of(BOXES), "runs": ["a", "b"]} for name in NAMES
    ],
}
NUMBER = {"mean": 0.4321, "standard_error": 0.0123}
PAIRS = {
    "pairs": 500,
    "paths": {path: {"area": NUMBER, "dip": NUMBER, "mean_entropy": NUMBER} for path in ("first", "partner", "none")},
    "against_none": {
        path: {"area_difference": NUMBER, "kept_half_difference": NUMBER, "share_higher": NUMBER}
        for path in ("first", "partner")
    },
}
INTERPOLATED = {"layer": "stage4", "read_from_layer": "positions", "all": PAIRS, "ends_right": PAIRS}


def _own_folder() -> Path:
    """A small one in the working directory, which is the test's."""
    for split, name, number in itertools.product(("train", "test"), ("one", "a class of a long name"), range(2)):
        file = Path("own", split, name, f"{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), (40 * number, 80, 120)).save(file)
    return Path("own")


# what every part of the command line that makes a table prints, of records as small as they come
PRINTED: dict[str, Callable[[], object]] = {
    "configs.py": lambda: main(["configs", "digits"]),
    "methods.py": lambda: main(["methods"]),
    "localize.py": lambda: localize.print_tables(LOCALIZED),
    "benchmark.py": lambda: benchmark.print_report(
        Report("question", {}, [{"rival": name, "median ms": 12.3, "memory MiB": 4567.8} for name in NAMES])
    ),
    "compare/table.py": lambda: print_table(
        {"data": "digits", "methods": [row(name, k) for k, name in enumerate(NAMES)], "seconds": 93.0}
    ),
    "evaluate/table.py": lambda: evaluated.print_tables(EVALUATED),
    "morph.py": lambda: morph._print_table(INTERPOLATED),
    "own_data/command.py": lambda: main(["data", str(_own_folder())]),
}
PLACES: dict[str, dict[str, str]] = {
    "redirected": {},
    "dumb": {"TERM": "dumb"},
    "no colours": {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"},
} | {f"{width} columns": {"COLUMNS": str(width), "TERM": "xterm"} for width in (40, 80, 200)}


def test_every_table_is_looked_at() -> None:
    room = Path(localize.__file__).parent
    found = {
        file.relative_to(room).as_posix()
        for file in room.rglob("*.py")
        if re.search(r"= new_table\(", file.read_text(encoding="utf-8"))
    }
    assert found == PRINTED.keys()


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("which", PRINTED)
def test_every_number_is_there_in_every_terminal(
    which: str,
    place: str,
    is_terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    PRINTED[which]()
    whole = capsys.readouterr().out
    for name, value in PLACES[place].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    PRINTED[which]()
    out = capsys.readouterr().out
    if "NO_COLOR" in PLACES[place] or not is_terminal or PLACES[place].get("TERM") == "dumb":
        assert not re.search(r"\x1b\[[\d;]*3\d", out)
    out = plain(out)
    assert "…" not in out
    if "too narrow here for" not in out:
        assert set(re.findall(r"\d[\d.]*", whole)) <= set(re.findall(r"\d[\d.]*", out))
    if "COLUMNS" in PLACES[place]:  # names and numbers that are longer are no table's own
        rows = [line for line in out.splitlines() if re.search(r"\d ±|[│┃]|^  ", line)]
        assert max(map(len, rows), default=0) <= int(PLACES[place]["COLUMNS"])


def test_texts_of_others_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "a\x1b]0;title\x07\x9b2J\rb"
    for width in ("200", "20"):
        monkeypatch.setenv("COLUMNS", width)
        table = new_table("run", evil, title=evil, caption=evil)
        table.add_row(evil * 3, "é 1.00 ±")
        show(table, evil)
        checks = {"attack": evil, "images": 1, "checks": [{"name": evil, "passed": False, "problem": evil}]}
        evaluated.print_checks([{"run": evil, "attacks": {"checks": checks}}])
    main(["evaluate", str(tmp_path / evil)])
    main(["report", str(tmp_path / evil)])
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert r"a\x1b]0;title\x07\x9b2J\rb" in text
        assert not set("\x1b\x07\x9b\r") & set(text)
    assert "é 1.00 ±" in said.out


def test_notices_and_stored_names_do_not_steer_the_terminal() -> None:
    record = logging.LogRecord("alignmixup", logging.INFO, "", 0, "%s: decoding", ("a\x1b[2J",), None)
    assert _Printable().format(record) == r"a\x1b[2J: decoding"
    assert printable("one\n\ttwo ± é") == "one\n\ttwo ± é"
