"""The tables: which columns they have, and what stands in them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alignmixup.report import tables
from alignmixup.report.collect import find_runs
from alignmixup.report.rows import Row, build_rows
from alignmixup.report.tables import COLUMNS, duration, error_table, evaluation_tables, localization_tables, tabulate

Make = Callable[..., Path]


@pytest.fixture
def rows(make: Make, tmp_path: Path) -> list[Row]:
    make("mixup", 0, [20.0, 12.0])
    make("baseline", 1, [22.0, 18.0])
    make("baseline", 0, [20.0, 16.0])
    return build_rows(find_runs([tmp_path]))


def test_chosen_columns_stand_as_they_were_chosen(rows: list[Row]) -> None:
    table = tabulate(rows, ["method", "paper", "loss", "against", "best", "cross-entropy", "seeds"])
    assert table.headings[:3] == ["method", "paper (best)", "training loss, first and last epoch"]
    assert table.rows == [
        ("Baseline", "", "2.00, 1.00", "", "17.00 ± 1.41", "0.850 ± 0.071", "2"),
        ("Mixup", "", "2.00, 1.00", "-2.00", "12.00", "0.600", "1"),
    ]
    with pytest.raises(ValueError, match="no column speed; there are method, last10"):
        tabulate(rows, ["method", "speed"])


def test_without_a_choice_empty_columns_are_left_out(rows: list[Row]) -> None:
    assert tabulate(rows).headings == ["method", "last 10", "minus baseline", "best", "seconds", "seeds"]


def test_the_table_of_errors_has_every_column_with_a_number_and_marks_the_best(rows: list[Row]) -> None:
    table = error_table(rows)
    left_out = {"paper", "unaligned"} | {"loss", "seconds"}  # nothing there; the curves and the time of a run say more
    assert set(table.headings) == {heading for key, (heading, _) in COLUMNS.items() if key not in left_out}
    assert table.best == 1
    assert all(len(row) == len(table.headings) for row in table.rows)
    assert "unaligned" not in table.note


def test_evaluations_are_a_table_for_each_kind_of_measure_with_names_and_counts(rows: list[Row]) -> None:
    assert evaluation_tables(rows) == []
    numbers = {"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
    corrupted = {"mean_error_percent": 40.0, "images": 20}
    attacks = {"attacks": [{"label": "fgsm 8/255", "error_percent": 90.0}], "images": 10}
    rows[0].runs[0].evaluation.update(numbers)  # type: ignore[attr-defined]
    rows[1].runs[0].evaluation.update(numbers | {"corruptions": corrupted, "attacks": attacks})  # type: ignore[attr-defined]
    first, attacked, last = evaluation_tables(rows)
    assert first.headings == ["method", "error", "minus baseline", "top-5 error", "cross-entropy", "images", "runs"]
    assert first.rows == [
        ["Baseline", "21.00", "", "9.00", "1.500", "50", "1"],
        ["Mixup", "21.00", "+0.00", "9.00", "1.500", "50", "1"],
    ]
    assert (attacked.headings[1], attacked.rows) == ("fgsm 8/255", [["Mixup", "90.00", "10", "1"]])
    assert last.rows == [["Mixup", "40.00", "20", "1"]]


MEASURED = {"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
CALIBRATION = {"bins": 15, "brier": 0.5, "accuracy_percent": 79.0, "images": 50, "ece_percent": 3.0}
CALIBRATION |= {"overconfidence_percent": 1.0, "mean_confidence_percent": 80.0}


@pytest.fixture
def calibrated(make: Make, tmp_path: Path) -> Callable[..., list[Row]]:
    """Rows of mixup and the baseline, three seeds each, with these calibration errors; the last baseline has none."""

    def build(own: list[float], baseline: list[float], **of_baseline: Any) -> list[Row]:
        for label, errors, more in (("mixup", own, {}), ("baseline", baseline, of_baseline)):
            for seed in range(3):
                folder = make(label, seed, [20.0])
                if seed < len(errors):
                    found = MEASURED | {"calibration": CALIBRATION | {"ece_percent": errors[seed]}} | more
                    (folder / "evaluation.json").write_text(json.dumps(found))
        return build_rows(find_runs([tmp_path]))

    return build


def test_the_first_number_of_a_table_is_compared_to_the_baseline_by_seed(
    calibrated: Callable[..., list[Row]],
) -> None:
    rows = calibrated([9.0, 11.0, 40.0], [4.0, 5.0])
    _, table = evaluation_tables(rows)
    assert table.headings[:3] == ["method", "ECE", "minus baseline"]
    assert [line[:3] for line in table.rows] == [
        ["Baseline", "4.50 ± 0.71", ""],
        ["Mixup", "20.00 ± 17.35", "+5.50 ± 0.71"],  # 9 - 4 and 11 - 5; seed 2 has no partner
    ]
    assert "paired by seed" in table.note
    chosen = tabulate(rows, ["method", "ece", "ece-against", "confidence"])
    assert chosen.headings == ["method", "ECE", "ECE minus baseline", "mean confidence"]
    assert chosen.rows[1] == ("Mixup", "20.00 ± 17.35", "+5.50 ± 0.71", "80.00 ± 0.00")


@pytest.mark.parametrize(
    "otherwise",
    [
        {"settings": {"files": "50 images, 2"}},
        {"settings": {"files": "50 images, 1", "parts": {"corruptions": {"limit": 20, "seed": 0}}}},
        {"settings": {"files": "50 images, 1", "parts": {"corruptions": {"limit": 30, "seed": 1}}}},
        {"images": 40, "calibration": CALIBRATION | {"images": 40}},
        {"weights": "model_best.safetensors"},
    ],
)
def test_numbers_of_other_images_are_no_pair(calibrated: Callable[..., list[Row]], otherwise: dict[str, Any]) -> None:
    rows = calibrated([9.0, 11.0, 40.0], [4.0, 5.0, 6.0])
    for run in rows[1].runs:
        parts = {"corruptions": {"limit": 30, "seed": 0}}
        settings = {"files": "50 images, 1", "parts": parts}
        run.evaluation.update({"settings": settings, "weights": "model.safetensors"})  # type: ignore[attr-defined]
    assert tabulate(rows, ["ece-against"]).rows[1] == ("+15.00 ± 16.46",)
    for run in rows[0].runs:
        run.evaluation.update(otherwise)  # type: ignore[attr-defined]
    assert tabulate(rows, ["ece-against"]).rows[1] == ("",)


def test_a_baseline_on_other_images_is_no_pair(calibrated: Callable[..., list[Row]]) -> None:
    rows = calibrated([9.0, 11.0, 40.0], [4.0, 5.0, 6.0])
    assert tabulate(rows, ["ece-against"]).rows[1] == ("+15.00 ± 16.46",)
    rows[1] = replace(rows[1], apart=("images",))
    assert tabulate(rows, ["ece-against"]).rows[1] == ("",)


def test_rows_that_a_folder_calls_as_another_is_named_keep_their_own_numbers(make: Make, tmp_path: Path) -> None:
    for root, label, ece in (("a", "mixup", 10.0), ("b", "mixup", 20.0), ("c", "mixup,method.alpha=2", 30.0)):
        alpha = 1 if root == "a" else 2
        folder = make(label, 0, [20.0 + ece], name="digits/mixup", root=root, overrides=(f"method.alpha={alpha}",))
        found = MEASURED | {"calibration": CALIBRATION | {"ece_percent": ece}}
        (folder / "evaluation.json").write_text(json.dumps(found))
    rows = build_rows([replace(run, label=run.label.split("/")[-1]) for run in find_runs([tmp_path])])
    shown = {float(line[1]) - 20: float(line[0]) for line in tabulate(rows, ["ece", "last"]).rows}
    assert shown == {10.0: 10.0, 20.0: 20.0, 30.0: 30.0}


def test_runs_are_counted_that_have_a_number_of_the_kind(rows: list[Row]) -> None:
    numbers = {"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
    first, second = rows[0].runs
    first.evaluation.update(numbers)  # type: ignore[attr-defined]
    second.evaluation.update(numbers | {"corruptions": {"mean_error_percent": 40.0, "images": 20}})  # type: ignore[attr-defined]
    whole, corrupted = evaluation_tables(rows)
    assert [line[-1] for line in whole.rows] == ["2"]
    assert corrupted.rows == [["Baseline", "40.00", "20", "1"]]


def test_a_table_of_corruptions_is_of_the_kinds_that_all_runs_have(rows: list[Row]) -> None:
    def corrupted(**errors: list[float]) -> dict[str, Any]:
        asked = {
            "kinds": [*errors],
            "severities": [3],
            "images": 20,
            "source": "made here",
            "seed": 0,
            "table": "cifar",
        }
        return asked | {"error_percent": errors, "mean_error_percent": fmean(fmean(one) for one in errors.values())}

    numbers = {"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
    first, second = rows[0].runs
    first.evaluation.update(numbers | {"corruptions": corrupted(fog=[40.0], snow=[80.0])})  # type: ignore[attr-defined]
    second.evaluation.update(numbers | {"corruptions": corrupted(fog=[42.0])})  # type: ignore[attr-defined]
    _, table = evaluation_tables(rows)
    assert table.rows == [["Baseline", "41.00 ± 1.41", "20", "2"]]


def test_what_was_asked_otherwise_of_each_is_left_out_and_said(
    rows: list[Row], caplog: pytest.LogCaptureFixture
) -> None:
    numbers = {"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
    for run, bins in zip(rows[0].runs, (10, 15), strict=True):
        run.evaluation.update(numbers | {"calibration": {"bins": bins, "ece_percent": 3.0}})  # type: ignore[attr-defined]
    assert [table.caption for table in evaluation_tables(rows)] == ["Error"]
    assert "calibration is in no table and figure of these runs: it was asked otherwise of each" in caplog.text


def test_evaluations_on_other_files_are_not_averaged(rows: list[Row], caplog: pytest.LogCaptureFixture) -> None:
    numbers = {"top5_error_percent": 9.0, "cross_entropy": 1.5, "images": 50}
    first, second = rows[0].runs
    first.evaluation.update(numbers | {"error_percent": 20.0, "settings": {"files": "50 images, 1"}})  # type: ignore[attr-defined]
    second.evaluation.update(numbers | {"error_percent": 30.0, "settings": {"files": "50 images, 2"}})  # type: ignore[attr-defined]
    (table,) = evaluation_tables(rows)
    assert (table.rows[0][1], table.rows[0][-1]) == ("20.00", "1")
    assert "baseline: the evaluation of seed 1 is of other test images (most are of 50 images, 1)" in caplog.text


def test_the_note_says_which_images_chose_the_best_epoch(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [20.0])
    assert "chosen on the test set, as the papers report it." in error_table(build_rows(find_runs([tmp_path]))).note
    held_out = find_runs([make("cutmix", 0, [20.0], overrides=("data.validation=0.1",))])
    assert "chosen on held-out training images, which all errors are of." in error_table(build_rows(held_out)).note
    both = error_table(build_rows(find_runs([tmp_path]))).note
    assert "the test set" in both
    assert "held-out training images" in both


def test_no_column_of_top_5_errors_where_there_are_five_classes(rows: list[Row]) -> None:
    numbers = {"error_percent": 21.0, "top5_error_percent": 0.0, "cross_entropy": 1.5, "images": 50, "classes": 5}
    rows[0].runs[0].evaluation.update(numbers)  # type: ignore[attr-defined]
    (table,) = evaluation_tables(rows)
    assert table.headings == ["method", "error", "cross-entropy", "images", "runs"]


def test_no_heading_is_the_key_of_a_record(rows: list[Row]) -> None:
    named = [heading for own in tables._GROUPS.values() for heading, _ in own.values()]
    assert not [heading for heading in (*named, *tables._LOCALIZED.values()) if "_" in heading or "percent" in heading]
    assert max(len(own) for own in tables._GROUPS.values()) <= 7  # what fits a printed page


def result(data: str, **group: Any) -> dict[str, Any]:
    run = {"run": "runs/x-seed0", "model": "vgg16_gap", "method": "cutmix"}
    return {"data": data, "runs": [run], "groups": [{"name": "cutmix", "runs": ["runs/x-seed0"], **group}]}


def test_groups_are_rows_with_the_papers_numbers_for_its_data_set() -> None:
    numbers = {"mean": {"max_box_acc.largest": 61.5}, "spread": {"max_box_acc.largest": 0.25}}
    (table,) = localization_tables([result("cub", **numbers)])
    assert table.headings == ["method", "MaxBoxAcc", "images", "runs", "paper"]
    assert table.rows == [["CutMix", "61.50 ± 0.25", "", "1", "Top-1 52.5, MaxBoxAcc-v2 62.6"]]
    (elsewhere,) = localization_tables([result("tiny-imagenet", **numbers)])
    assert elsewhere.headings == ["method", "MaxBoxAcc", "images", "runs"]


@pytest.mark.parametrize("found", [[], [{"groups": []}], [{}]])
def test_nothing_measured_is_no_table(found: list[dict[str, Any]]) -> None:
    assert localization_tables(found) == []


@pytest.mark.parametrize(("seconds", "said"), [(42, "42.0 s"), (306, "5.1 min"), (11520, "3.2 h")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
