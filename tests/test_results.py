"""The tables of the documentation are those of the stored records."""

import json
from pathlib import Path

from benchmarks.results import ROOT, outdated

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "results").glob("*/records/*.json"))


def test_tables_equal_their_records() -> None:
    differing = outdated(PAGES, ROOT / "results", write=False)
    assert not differing, f"{', '.join(map(str, differing))}: rebuild with python -m benchmarks.results"


def test_records_are_small_and_name_no_machine_path() -> None:
    wrong = []
    for file in RECORDS:
        text = file.read_text()
        found = [path for path in ("/tmp", "/home") if path in text]
        if len(text) >= 300_000:
            found.append(f"{len(text)} characters")
        if (root := json.loads(text)["config"]["data"]["root"]) != "data":
            found.append(f"data.root = {root!r}")
        wrong += [f"{file.relative_to(ROOT)}: {what}" for what in found]
    assert not wrong, "\n".join(wrong)
    assert RECORDS


def test_a_table_is_put_right(tmp_path: Path) -> None:
    (name, *_) = sorted({file.parts[-3] for file in RECORDS})
    page = tmp_path / "page.md"
    page.write_text(f"<!-- results {name}: method, seeds -->\n| wrong |\n<!-- end of results -->\n")
    assert outdated([page], ROOT / "results", write=False) == [page]
    assert "wrong" in page.read_text()
    assert outdated([page], ROOT / "results", write=True) == [page]
    assert outdated([page], ROOT / "results", write=True) == []
    assert "| method | seeds |" in page.read_text()
