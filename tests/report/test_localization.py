"""The table of localisation."""

from typing import Any

from alignmixup.report.localization import localization_table


def result(data: str, **group: Any) -> dict[str, Any]:
    run = {"run": "runs/x-seed0", "model": "vgg16_gap", "method": "cutmix"}
    return {"data": data, "runs": [run], "groups": [{"name": "cutmix", "runs": ["runs/x-seed0"], **group}]}


def test_groups_are_rows_with_the_papers_numbers_for_its_data_set() -> None:
    numbers = {"mean": {"max_box_acc.largest": 61.5}, "spread": {"max_box_acc.largest": 0.25}}
    got = localization_table([result("cub", **numbers)])
    assert ">CutMix</th><td>1</td><td>61.50 ± 0.25</td><td>Top-1 52.5, MaxBoxAcc-v2 62.6</td>" in got
    assert ">max box acc, largest</th>" in got
    assert "paper" not in localization_table([result("tiny-imagenet", **numbers)])


def test_nothing_measured_is_no_table() -> None:
    assert localization_table([]) == ""
    assert localization_table([{"groups": []}]) == ""
