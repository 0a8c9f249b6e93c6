"""Tables for the documentation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.report.markdown import markdown_table, rebuild
from alignmixup.report.rows import build_rows
from alignmixup.report.runs import find_runs, write_compact

Make = Callable[..., Path]

TABLE = """\
| method | last 10 | seconds |
|---|---|---|
| Baseline | 19.00 ± 1.41 | 60.0 |
| Mixup | 16.00 | 60.0 |
"""


@pytest.fixture
def runs(make: Make) -> Path:
    make("mixup", 0, [20.0, 12.0])
    make("baseline", 1, [22.0, 18.0])
    return make("baseline", 0, [20.0, 16.0]).parent


def test_chosen_columns(runs: Path) -> None:
    rows = build_rows(find_runs([runs]))
    assert markdown_table(rows, ["method", "last10", "seconds"]) == TABLE
    first = markdown_table(rows, ["method", "loss", "against", "best", "cross-entropy", "seeds"]).splitlines()[2:]
    assert first == ["| Baseline | 2.00, 1.00 |  | 17.00 ± 1.41 | 0.850 ± 0.071 | 2 |",
                     "| Mixup | 2.00, 1.00 | -2.00 | 12.00 | 0.600 | 1 |"]  # fmt: skip
    with pytest.raises(ValueError, match="no column speed; there are method, last10"):
        markdown_table(rows, ["speed"])


def test_without_a_choice_empty_columns_are_left_out(runs: Path) -> None:
    heading = markdown_table(build_rows(find_runs([runs]))).splitlines()[0]
    assert heading == "| method | last 10 | minus baseline | best | seconds | seeds |"


def test_a_marked_table_is_made_anew_from_stored_records(runs: Path, tmp_path: Path) -> None:
    for run in find_runs([runs]):
        write_compact(run, tmp_path / "results" / "digits" / "records")
    page = "before\n<!-- results digits: method, last10, seconds -->\n{}<!-- end of results -->\nafter\n"
    assert rebuild(page.format("| old |\n"), tmp_path / "results") == page.format(TABLE)
    assert rebuild(page.format(TABLE), tmp_path / "results") == page.format(TABLE)
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        rebuild("<!-- results nothing: method -->\n<!-- end of results -->", tmp_path / "results")
