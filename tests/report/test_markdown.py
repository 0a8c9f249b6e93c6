"""Tables as text, for the documentation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.report.collect import find_runs
from alignmixup.report.markdown import markdown_table, rebuild
from alignmixup.report.storing import write_records
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


def test_a_marked_table_shows_what_was_evaluated_before_the_runs_were_stored(make: Make, tmp_path: Path) -> None:
    for label, corrupted in (("baseline", 50.0), ("mixup", 45.0)):
        numbers = {"kinds": ["fog"], "severities": [3], "clean_error_percent": 20.0, "images": 20}
        numbers |= {"mean_error_percent": corrupted, "error_percent": {"fog": [corrupted]}}
        evaluation = {"error_percent": 16.0, "top5_error_percent": 5.0, "cross_entropy": 1.0, "corruptions": numbers}
        (make(label, 0, [16.0]) / "evaluation.json").write_text(json.dumps(evaluation))
    write_records(find_runs([tmp_path / "runs"]), tmp_path / "results" / "digits")
    page = "<!-- results digits: method, corrupted, corrupted-against -->\n<!-- end of results -->\n"
    assert "| Mixup | 45.00 | -5.00 |" in rebuild(page, tmp_path / "results")
