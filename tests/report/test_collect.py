"""Finding runs and storing their records."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.cli import main
from alignmixup.report.collect import find_runs, find_shared
from alignmixup.report.rows import build_rows, warnings
from alignmixup.report.storing import compact, write_records

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


EVALUATION: dict[str, Any] = {
    "format": 1,
    "run": "/home/someone/runs/mixup-seed3",
    "method": "mixup",
    "weights": "model.safetensors",
    "error_percent": 20.123456789,
    "top5_error_percent": 5.0,
    "cross_entropy": 1.0,
    "images": 50,
    "settings": {"model": {"weights": "/home/someone/lite0.safetensors"}, "weights_sha256": "a" * 64},
    "corruptions": {
        "kinds": ["fog"],
        "severities": [3],
        "mean_error_percent": 40.0,
        "clean_error_percent": 20.0,
        "error_percent": {"fog": [40.0]},
    },
}


def test_a_stored_record_keeps_what_was_evaluated(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 3, [30.0, 20.0])
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    (run,) = find_runs([folder])
    file = write_records([run], tmp_path / "results")
    assert "/home" not in file.read_text(encoding="utf-8")
    (again,) = find_runs([file])
    kept = {key: EVALUATION[key] for key in ("weights", "top5_error_percent", "images", "corruptions")}
    assert again.evaluation.items() >= (kept | {"error_percent": 20.1235}).items()
    assert again.evaluation["settings"]["model"]["weights"] == "lite0.safetensors"
    assert "evaluation" not in again.record
    assert compact(again) == compact(run)
    (folder / "evaluation.json").unlink()  # the same run, stored once more
    write_records(find_runs([folder]), tmp_path / "results")
    assert find_runs([file])[0].evaluation == again.evaluation
    shutil.rmtree(folder)
    write_records(find_runs([make("mixup", 3, [30.0, 25.0])]), tmp_path / "results")  # another run in its place
    assert find_runs([file])[0].evaluation == {}


def test_a_run_on_other_images_does_not_replace_a_stored_one(make: Make, tmp_path: Path) -> None:
    def store(images: str) -> Path:
        folder = make("mixup", 0, [30.0], root=images)
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        record |= {"image_files": {"training": images, "test": "20 images, 3"}} if images else {}
        (folder / "record.json").write_text(json.dumps(record))
        return write_records(find_runs([folder]), tmp_path / "results")

    store("50 images, 1")
    with pytest.raises(ValueError, match="of other images, 50 images, 1 and 20 images, 3 there and 40 images, 2 and"):
        store("40 images, 2")
    (kept,) = find_runs([tmp_path / "results"])
    assert kept.files["training"] == "50 images, 1"
    store("")  # a run of before does not say it


def test_parts_that_were_evaluated_before_stay_beside_those_of_now(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 3, [30.0, 20.0])
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    file = write_records(find_runs([folder]), tmp_path / "results")
    again: dict[str, Any] = {key: value for key, value in EVALUATION.items() if key != "corruptions"}
    (folder / "evaluation.json").write_text(json.dumps(again | {"error_percent": 21.0}))
    write_records(find_runs([folder]), tmp_path / "results")
    (kept,) = find_runs([file])
    assert (kept.evaluation["error_percent"], kept.evaluation["corruptions"]) == (21.0, EVALUATION["corruptions"])
    again["settings"] = {**again["settings"], "weights_sha256": "b" * 64}  # of other weights, such as the best epoch's
    (folder / "evaluation.json").write_text(json.dumps(again))
    write_records(find_runs([folder]), tmp_path / "results")
    assert "corruptions" not in find_runs([file])[0].evaluation


def test_no_folder_and_no_run_of_the_machine_is_named_in_a_stored_evaluation(make: Make, tmp_path: Path) -> None:
    sets = {f"folder:/{place}/test": {"in_images": number} for number, place in enumerate(("home/one", "srv"))}
    mean = dict.fromkeys(("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95"), 0.5)
    corruptions = EVALUATION["corruptions"] | {"mce": {"mce_percent": 70.0, "baseline": "/home/one/baseline-seed0"}}
    found = EVALUATION | {"ood": {"sets": sets, "mean": {"msp": mean}}, "corruptions": corruptions}
    folder = make("mixup", 3, [30.0])
    (folder / "evaluation.json").write_text(json.dumps(found))
    file = write_records(find_runs([folder]), tmp_path / "results")
    (run,) = find_runs([file])
    assert run.evaluation["ood"]["sets"] == {"folder:test": {"in_images": 0}, "folder:test (2)": {"in_images": 1}}
    assert run.evaluation["corruptions"] == EVALUATION["corruptions"]  # mCE is against a run that a path alone names
    assert "/home" not in file.read_text(encoding="utf-8")
    assert compact(run)["evaluation"] == run.evaluation


def test_a_copy_gives_its_evaluation_to_the_one_with_pictures(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 3, [30.0])
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    file = write_records(find_runs([folder]), tmp_path / "results")
    (folder / "evaluation.json").unlink()
    (folder / "morph.png").write_bytes(b"x")
    (run,) = find_runs([folder, file])
    assert ([picture.name for picture in run.pictures], run.evaluation["error_percent"]) == (["morph.png"], 20.1235)


def test_a_run_ended_on_the_day_of_its_record(make: Make) -> None:
    folder = make("mixup", 3, [30.0])
    os.utime(folder / "record.json", (1e9, 1e9))  # 2001-09-09
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    assert find_runs([folder])[0].date == "2001-09-09"


def test_a_damaged_evaluation_of_a_stored_record_is_refused(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 3, [30.0])
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    file = write_records(find_runs([folder]), tmp_path / "results")
    line = json.loads(file.read_text(encoding="utf-8"))
    del line["evaluation"]["cross_entropy"], line["sha256_of_the_rest"]
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"evaluation\.cross_entropy is missing"):
        find_runs([file])


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


def test_places_are_as_long_as_it_takes_and_no_record_is_lost(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0], root="old/digits")
    make("mixup", 0, [20.0], root="new/digits")
    make("mixup", 1, [25.0], root="new/digits")
    runs = find_runs([tmp_path])
    assert sorted((run.label, run.record["seed"]) for run in runs) == [
        ("new/digits/mixup", 0),
        ("new/digits/mixup", 1),
        ("old/digits/mixup", 0),
    ]
    assert [len(row.runs) for row in build_rows(runs)] == [2, 1]
    file = write_records(runs, tmp_path / "results")
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3


def test_runs_side_by_side_that_only_their_own_names_tell_apart(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0]).rename(tmp_path / "runs" / "mixup")
    make("mixup", 0, [20.0])
    labels = {run.label for run in find_runs([tmp_path])}
    assert len(labels) == 2
    assert {label.rpartition("/")[2] for label in labels} == {"mixup (mixup)", "mixup (mixup-seed0)"}


def test_a_run_that_lies_at_two_paths_counts_once(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 0, [30.123456789])
    stored = write_records(find_runs([folder]), tmp_path / "results")
    shutil.copytree(folder, tmp_path / "copies" / "mine-seed0")
    (folder / "morph.png").write_bytes(b"x")
    (run,) = find_runs([tmp_path / "copies", stored, tmp_path])
    assert (run.label, run.path) == ("mixup", folder)  # the one with more beside it


def test_a_file_holds_one_run_of_a_key_and_one_configuration(make: Make, tmp_path: Path) -> None:
    (first,) = find_runs([make("mixup", 0, [30.0])])
    (wide,) = find_runs([make("mixup", 0, [20.0], root="wide", overrides=("model.width=32",))])
    with pytest.raises(ValueError, match=r"are both mixup with seed 0: store them in different folders"):
        write_records([first, wide], tmp_path / "results")
    assert not (tmp_path / "results").exists()
    before = write_records([first], tmp_path / "results").read_bytes()
    with pytest.raises(
        ValueError, match=r"mixup with seed 0 of another configuration, model\.width: \d+ there, 32 now"
    ):
        write_records([wide], tmp_path / "results")
    assert (tmp_path / "results" / "records.jsonl").read_bytes() == before


def age(record: Path) -> None:
    """Let the record be newer than all that lies beside it."""
    later = max(file.stat().st_mtime for file in record.parent.rglob("*")) + 10
    os.utime(record, (later, later))


LOCALIZED = {"groups": [{"name": "mixup", "runs": ["mixup-seed0"], "mean": {"x": 1.0}, "spread": {"x": None}}]}


def test_what_shows_the_network_of_before_is_left_out_and_named(make: Make, tmp_path: Path) -> None:
    folder = make("mixup", 0, [30.0])
    for name in ("morph.png", "evaluation-ood.png", "localization_boxes.png"):
        (folder / name).write_bytes(b"x")
    (folder / "localization.json").write_text(json.dumps(LOCALIZED))
    (run,) = find_runs([folder])
    assert (len(run.pictures), bool(run.localization), run.outdated) == (3, True, ())
    age(folder / "record.json")  # as after --overwrite, or more epochs
    (folder / "new.png").write_bytes(b"x")
    os.utime(folder / "new.png", (2e9, 2e9))
    (run,) = find_runs([folder])
    assert [picture.name for picture in run.pictures] == ["new.png"]
    assert run.localization == {}
    assert run.outdated == ("localization.json", "evaluation-ood.png", "localization_boxes.png", "morph.png")
    (warning,) = warnings(build_rows([run]))
    assert "Left out of Mixup, seed 0: localization.json, evaluation-ood.png" in warning


def test_pictures_of_an_evaluation_of_other_weights_go_with_it(make: Make) -> None:
    folder = make("mixup", 0, [30.0])
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"weights_sha256": {"model.safetensors": "new"}}))
    evaluation = {"error_percent": 30.0, "top5_error_percent": 5.0, "cross_entropy": 1.0}
    (folder / "evaluation.json").write_text(json.dumps(evaluation | {"settings": {"weights_sha256": "old"}}))
    (folder / "evaluation-ood.png").write_bytes(b"x")
    (run,) = find_runs([folder])
    assert (run.evaluation, run.pictures) == ({}, ())
    assert run.outdated == ("evaluation.json", "evaluation-ood.png")


def test_a_localisation_of_several_runs_goes_with_the_first_that_was_trained_anew(make: Make, tmp_path: Path) -> None:
    folder, other = make("mixup", 0, [30.0]), make("mixup", 1, [30.0])
    shared = folder.parent
    (shared / "localization.json").write_text(json.dumps(LOCALIZED | {"runs": [{"run": "elsewhere/mixup-seed0"}]}))
    (shared / "localization_curves.png").write_bytes(b"x")
    (shared / "align.gif").write_bytes(b"x")
    age(other / "record.json")
    found = find_shared([shared])
    assert (len(found.localizations), len(found.pictures)) == (1, 2)
    os.utime(folder / "record.json", (2e9, 2e9))
    found = find_shared([shared])
    assert (found.localizations, [file.name for file in found.pictures]) == ((), ["align.gif"])


def test_records_are_counted_as_they_are_written_and_warnings_go_beside_a_table(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("mixup", 0, [30.0], root="old/digits")
    make("mixup", 0, [20.0], root="new/digits")
    shutil.copytree(tmp_path / "new", tmp_path / "copy")
    make("baseline", 0, [10.0], overrides=("model.width=32",))
    arguments = ["--table", "csv", "--columns", "method,seeds", "--records", str(tmp_path / "r")]
    assert main(["report", str(tmp_path), *arguments]) == 0
    out, err = capsys.readouterr()
    assert f"{tmp_path / 'r' / 'records.jsonl'}: 3 records\n" in out
    assert len((tmp_path / "r" / "records.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert out.count("/digits/Mixup,1\n") == 2
    assert err.count("the only baseline differs in model.width too.\n") == 2
