"""Finding runs and storing their records."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.report.collect import compact, find_runs, write_records
from alignmixup.report.rows import build_rows

Make = Callable[..., Path]


def test_runs_are_found_in_folders_above_them_once(make: Make, tmp_path: Path) -> None:
    folders = [make("mixup", seed, [30.0]) for seed in (0, 1)]
    evaluation = {"error_percent": 30.0, "top5_error_percent": 5.0, "cross_entropy": 1.0}
    (folders[0] / "evaluation.json").write_text(json.dumps(evaluation))
    for name in ("curves.png", "morph.png", "note.txt"):
        (folders[0] / name).write_bytes(b"x")
    runs = find_runs([tmp_path, folders[0], folders[1] / "record.json"])
    assert [(run.label, run.record["seed"], run.data) for run in runs] == [
        ("mixup", 0, "digits"),
        ("mixup", 1, "digits"),
    ]
    assert runs[0].evaluation == evaluation
    assert [picture.name for picture in runs[0].pictures] == ["morph.png"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", runs[0].date)


def test_equal_labels_of_two_places_are_told_apart(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0], root="first")
    make("mixup", 0, [20.0], root="second")
    make("cutmix", 0, [20.0], root="second")
    assert sorted(run.label for run in find_runs([tmp_path])) == ["cutmix", "first/mixup", "second/mixup"]


def test_what_is_not_there_or_no_record(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "localization.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="name its runs too"):
        find_runs([tmp_path / "boxes"])
    with pytest.raises(FileNotFoundError, match=r"empty holds no finished run: there is no record\.json"):
        find_runs([tmp_path / "empty"])
    folder = make("mixup", 0, [30.0])
    (folder / "record.json").write_text('{"format": 7}')
    with pytest.raises(ValueError, match="is no run record of format 1"):
        find_runs([folder])
    (folder / "record.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged or no JSON"):
        find_runs([folder])


def test_a_stored_record_holds_the_results_and_no_path(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 3, [30.123456789, 20.0], overrides=("data.root=/home/someone/data",))
    (run,) = find_runs([folder])
    stored = compact(run)
    assert (stored["config"]["data"]["root"], stored["label"], stored["date"]) == ("data", "mixup", run.date)
    assert stored["curve"][0] == {"epoch": 0, "train_loss": 2.0, "error_percent": 30.1235, "cross_entropy": 1.50617}
    file = write_records([run], tmp_path / "results")
    assert "/home" not in file.read_text(encoding="utf-8")
    assert {
        key: value for key, value in json.loads(file.read_text(encoding="utf-8")).items() if "sha256" not in key
    } == stored
    (again,) = find_runs([tmp_path / "results"])
    assert (again.label, again.date, again.record["metrics"]) == (run.label, run.date, run.record["metrics"])
    assert compact(again) == stored


def test_stored_records_are_lines_in_order_of_which_new_ones_replace_their_own(make: Make, tmp_path: Path) -> None:
    folders = [make(*row) for row in [("mixup", 10, [30.0]), ("mixup", 9, [20.0]), ("baseline", 0, [10.0])]]
    results = tmp_path / "results"
    assert write_records(find_runs(folders[:1]), results) == write_records(find_runs(folders[1:]), results)
    whole = (results / "records.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [(row["label"], row["seed"]) for row in rows] == [("baseline", 0), ("mixup", 9), ("mixup", 10)]
    write_records(find_runs([make("mixup", 9, [25.0], root="again")]), results)
    now = (results / "records.jsonl").read_text(encoding="utf-8").splitlines()
    changed = [old != new for old, new in zip(whole.splitlines(), now, strict=True)]
    assert changed == [False, True, False]
    mixup = build_rows(find_runs([results / "records.jsonl"]))[1]
    assert (len(mixup.runs), mixup.summary["mean"]["last_error_percent"]) == (2, 27.5)


def test_records_of_older_versions_in_a_file_each_are_found(make: Make, tmp_path: Path) -> None:
    (run,) = find_runs([make("mixup", 3, [30.0])])
    old = tmp_path / "old" / "records" / "mixup-seed3.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(compact(run)))
    (found,) = find_runs([tmp_path / "old"])
    assert compact(found) == compact(run)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no record"),
        (["{"], r"records\.jsonl, line 1 is damaged"),
        ([None, "{}"], "line 2 is no run record of format 1"),
        ([None, None], "line 2: mixup with seed 3 is there twice"),
    ],
)
def test_a_file_of_records_with_a_wrong_line(make: Make, tmp_path: Path, lines: list[str], message: str) -> None:
    file = write_records(find_runs([make("mixup", 3, [30.0])]), tmp_path)
    right = file.read_text(encoding="utf-8").strip()
    file.write_text("\n".join(line or right for line in lines))
    with pytest.raises(ValueError, match=message):
        find_runs([file])
