"""``alignmixup report``."""

import json
from pathlib import Path

import pytest

from alignmixup.cli import build_parser, main
from alignmixup.records import read_json


def command(*arguments: str) -> int:
    options = build_parser().parse_args(["report", *arguments])
    return int(options.run(options))


def test_a_page_a_table_and_stored_records_of_real_runs(
    small: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["compare", "--methods", "baseline,mixup", "--seeds", "1", *small]) == 0
    (results,) = Path("runs/digits").glob("results.json")
    results.write_text(json.dumps(read_json(results) | {"command": "alignmixup compare --seeds 1"}))
    capsys.readouterr()
    assert command("runs/digits", "-o", "pages/report.html", "--records", "stored") == 0
    assert capsys.readouterr().out == "stored/records.jsonl: 2 records\npages/report.html\n"
    page = Path("pages/report.html").read_text(encoding="utf-8")
    assert "<h1>2 runs on Digits</h1>" in page
    assert "<code>alignmixup compare --seeds 1</code>" in page
    assert command("runs/digits", "--markdown") == 0
    table = capsys.readouterr().out
    assert table.startswith(
        "| method | last 10 | minus baseline | best | seconds | seeds |\n|---|---|---|---|---|---|\n"
    )
    assert command("stored", "--markdown", "-o", "table.md") == 0
    assert Path("table.md").read_text(encoding="utf-8") == table
    assert command("stored", "--markdown", "--columns", "method, seeds") == 0
    assert capsys.readouterr().out.endswith("| Baseline | 1 |\n| Mixup | 1 |\n")
    assert command("stored", "-o", "table.csv", "--columns", "method,last10") == 0
    assert Path("table.csv").read_text(encoding="utf-8").startswith("method,last 10\nBaseline,")
    assert command("stored", "-o", "table.tex") == 0
    assert Path("table.tex").read_text(encoding="utf-8").startswith("\\begin{tabular}{lrrrrr}\n\\toprule\n")
    with pytest.raises(ValueError, match="ends as latex and --table says csv"):
        command("stored", "-o", "table.tex", "--table", "csv")
    with pytest.raises(FileNotFoundError, match="the runs hold nothing that `alignmixup evaluate` measured"):
        command("stored", "--table", "csv", "--numbers", "evaluation")

    def damaged(*_: object, **__: object) -> str:
        raise ValueError("a picture is damaged")

    monkeypatch.setattr("alignmixup.report.page.build_page", damaged)
    with pytest.raises(ValueError, match="a picture is damaged"):
        command("runs/digits", "-o", "refused.html", "--records", "refused")
    assert not Path("refused").exists()


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        command(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="--columns chooses the columns of a table"):
        command(str(tmp_path), "--columns", "method")
