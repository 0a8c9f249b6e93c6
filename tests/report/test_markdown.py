"""Tables as text, for the documentation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.report.collect import find_runs, write_records
from alignmixup.report.markdown import markdown_table, rebuild
from alignmixup.report.tables import Table

Make = Callable[..., Path]

TABLE = """\
| method | last 10 | seconds |
|---|---|---|
| Baseline | 19.00 ± 1.41 | 60.0 |
| Mixup | 16.00 | 60.0 |
"""


def test_a_bar_in_a_cell_is_no_border() -> None:
    text = markdown_table(Table(["method", "last 10"], [["a|b", "1"]]))
    assert text == "| method | last 10 |\n|---|---|\n| a&#124;b | 1 |\n"


def test_a_marked_table_is_made_anew_from_stored_records(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [20.0, 12.0])
    make("baseline", 1, [22.0, 18.0])
    make("baseline", 0, [20.0, 16.0])
    write_records(find_runs([tmp_path / "runs"]), tmp_path / "results" / "digits")
    page = "before\n<!-- results digits: method, last10, seconds -->\n{}<!-- end of results -->\nafter\n"
    assert rebuild(page.format("| old |\n"), tmp_path / "results") == page.format(TABLE)
    assert rebuild(page.format(TABLE), tmp_path / "results") == page.format(TABLE)
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        rebuild("<!-- results nothing: method -->\n<!-- end of results -->", tmp_path / "results")


def test_below_a_table_of_differences_stands_what_they_do_not_share(make: Make, tmp_path: Path) -> None:
    make("baseline", 0, [16.0])
    make("mixup", 0, [12.0], processor="Another")
    write_records(find_runs([tmp_path / "runs"]), tmp_path / "results" / "digits")
    page = "<!-- results digits: method, {} -->\n<!-- end of results -->\n"
    told = "Minus baseline of Mixup: runs of one seed were made by different machines"
    assert told in rebuild(page.format("against"), tmp_path / "results")
    assert told not in rebuild(page.format("last"), tmp_path / "results")
