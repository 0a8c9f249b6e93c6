"""The tables of the documentation are those of the stored records."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

from benchmarks.results import ROOT, outdated
from benchmarks.scoreboard import PAGE

from alignmixup.report.collect import find_runs
from alignmixup.report.faults import faults
from alignmixup.report.scoreboard import build_scoreboard
from alignmixup.report.storing import write_records

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "results").glob("*/records.jsonl"))


def test_tables_equal_their_records() -> None:
    differing = outdated(PAGES, ROOT / "results", write=False)
    assert not differing, f"{', '.join(map(str, differing))}: rebuild with python -m benchmarks.results"


def test_records_are_in_order_small_and_name_no_machine_path(tmp_path: Path) -> None:
    wrong = []
    for file in RECORDS:
        for run in find_runs([file]):
            text = json.dumps(run.record)
            found = [path for path in ("/tmp", "/home") if path in text]
            if len(text) >= 30_000:
                found.append(f"{len(text)} characters")
            if (root := run.config["data"]["root"]) != "data":
                found.append(f"data.root = {root!r}")
            wrong += [f"{file.relative_to(ROOT)}, {run.key}: {what}" for what in found]
        if write_records(find_runs([file]), tmp_path / file.parent.name).read_bytes() != file.read_bytes():
            wrong.append(f"{file.relative_to(ROOT)}: not as `alignmixup report --records` writes it")
    assert not wrong, "\n".join(wrong)
    assert RECORDS


def test_the_scoreboard_equals_the_records() -> None:
    assert PAGE.read_text(encoding="utf-8") == build_scoreboard(ROOT / "results"), (
        "write it with python -m benchmarks.scoreboard"
    )


def test_stored_records_have_no_fault() -> None:
    assert not [fault for file in RECORDS for fault in faults(file)]


def test_errors_in_the_list_of_methods_are_those_of_the_records() -> None:
    errors: dict[str, list[float]] = {}
    for folder, only in (("cifar100-small", None), ("cifar100-small-vit", ("transmix", "tokenmix"))):
        for run in find_runs([ROOT / "results" / folder]):
            if only is None or (run.config["method"]["name"] in only):
                errors.setdefault(run.config["method"]["name"], []).append(run.record["metrics"]["last_error_percent"])
    shown = {}
    for line in (ROOT / "docs/methods.md").read_text(encoding="utf-8").splitlines():
        if names := re.findall(r"methods/(\w+)\.md", line):
            shown |= dict(zip(names, re.findall(r"\d+\.\d ± \d\.\d", line), strict=False))
    assert shown == {name: f"{mean(found):.1f} ± {stdev(found):.1f}" for name, found in errors.items()}


def test_a_table_is_put_right(tmp_path: Path) -> None:
    (name, *_) = sorted({file.parent.name for file in RECORDS})
    page = tmp_path / "page.md"
    page.write_text(f"<!-- results {name}: method, seeds -->\n| wrong |\n<!-- end of results -->\n")
    assert outdated([page], ROOT / "results", write=False) == [page]
    assert "wrong" in page.read_text(encoding="utf-8")
    assert outdated([page], ROOT / "results", write=True) == [page]
    assert outdated([page], ROOT / "results", write=True) == []
    assert "| method | seeds |" in page.read_text(encoding="utf-8")
