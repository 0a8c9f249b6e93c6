"""Loading, mixing and training in memory against the usual loops."""

import math

import pytest

from alignmixup.benchmarks import loading

KEYS = ["part", "case", "images/s", "ms per batch", "ours is faster", "min", "max"]
TINY = ("--images", "12", "--batch", "4", "--workers", "0", "--width", "2")


def test_rows(options_of):
    report = loading.run(options_of("loading", *TINY))
    assert all(list(row) == KEYS for row in report.rows)
    assert {row["part"] for row in report.rows} == {"loading", "mixing", "training"}
    numbers = [row[key] for row in report.rows for key in KEYS[2:]]
    assert all(number > 0 and math.isfinite(number) for number in numbers)
    ours = [row for row in report.rows if row["case"].endswith("ours")]
    assert len(ours) == 6
    assert all(row["ours is faster"] == row["min"] == row["max"] == 1.0 for row in ours)
    cases = " ".join(row["case"] for row in report.rows)
    assert all(rival in cases for rival in ("v1 on PIL", "v2 on tensors", "timm", "plain loop over our batches"))


def test_what_is_not_installed_becomes_a_note(options_of, monkeypatch):
    monkeypatch.setattr(loading, "has", lambda library: False)
    report = loading.run(options_of("loading", *TINY))
    assert all("ours" in row["case"] or "our batches" in row["case"] for row in report.rows)
    assert [note.partition(" ")[0] for note in report.notes[:2]] == ["torchvision", "timm"]


def test_worker_processes_give_the_same_batches(options_of):
    task = loading.make_task(options_of("loading", *TINY))
    batches = [(tuple(x.shape), len(y)) for x, y in loading.usual_batches(task, kind="v1 on PIL", workers=1)]
    assert batches == [((4, 3, 32, 32), 4)] * 3


def test_rates_and_ratios_by_hand(options_of):
    task = loading.make_task(options_of("loading", *TINY))
    ours, rival = loading.compare("", {"ours": [1.0, 2.0, 4.0], "rival": [3.0, 8.0, 4.0]}, task)
    assert ours["images/s"] == 6.0
    assert rival["ms per batch"] == pytest.approx(1e3 * 4 / 3)
    assert [rival[key] for key in KEYS[4:]] == [3.0, 1.0, 4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "3"], "--batch must be an even number >= 2 .*, got 3"),
        (["--images", "100"], "--images must be >= --batch, got 100 and 128"),
        (["--workers", "-1"], "got -1 and 8"),
        (["--width", "0"], "got 1 and 0"),
    ],
)
def test_bad_values_are_named(options_of, arguments, message):
    with pytest.raises(ValueError, match=message):
        loading.run(options_of("loading", *arguments))
