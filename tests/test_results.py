"""The tables of the documentation are those of the stored records."""

import json
from pathlib import Path

import pytest
from benchmarks.results import ROOT, outdated

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "results").glob("*/records/*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_equal_their_records(page: Path) -> None:
    assert outdated([page], ROOT / "results", write=False) == [], "rebuild with python -m benchmarks.results"


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: f"{file.parts[-3]}/{file.stem}")
def test_records_are_small_and_name_no_machine_path(file: Path) -> None:
    text = file.read_text()
    assert len(text) < 300_000
    assert json.loads(text)["config"]["data"]["root"] == "data"
    assert "/tmp" not in text
    assert "/home" not in text


def test_a_table_is_put_right(tmp_path: Path) -> None:
    (name, *_) = sorted({file.parts[-3] for file in RECORDS})
    page = tmp_path / "page.md"
    page.write_text(f"<!-- results {name}: method, seeds -->\n| wrong |\n<!-- end of results -->\n")
    assert outdated([page], ROOT / "results", write=False) == [page]
    assert "wrong" in page.read_text()
    assert outdated([page], ROOT / "results", write=True) == [page]
    assert outdated([page], ROOT / "results", write=True) == []
    assert "| method | seeds |" in page.read_text()
