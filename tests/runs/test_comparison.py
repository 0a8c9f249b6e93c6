"""Means and spreads over seeds."""

from typing import Any

import pytest

from alignmixup.runs.comparison import difference, mean_and_spread, summarise_runs

KEYS = (
    "last10_error_percent", "best_error_percent", "last_error_percent",
    "last_cross_entropy", "seconds", "images_per_second",
)  # fmt: skip


def record(seed: int, value: float) -> dict[str, Any]:
    return {"seed": seed, "metrics": dict.fromkeys(KEYS, value), "curve": [{"epoch": 1, "error_percent": value}]}


def test_mean_and_sample_deviation() -> None:
    got = summarise_runs("cutmix", {"a": record(0, 1.0), "b": record(1, 2.0), "c": record(2, 6.0)})
    assert (got["seeds"], got["folders"], got["mean"]["seconds"]) == ([0, 1, 2], ["a", "b", "c"], 3.0)
    assert got["spread"]["last10_error_percent"] == pytest.approx(7**0.5)
    assert mean_and_spread(got, "last10_error_percent") == "3.00 ± 2.65"


def test_one_seed_has_no_spread() -> None:
    got = summarise_runs("cutmix", {"a": record(0, 1.0)})
    assert got["spread"]["seconds"] is None
    assert mean_and_spread(got, "seconds", digits=1) == "1.0"
    assert mean_and_spread(got, "seconds", sign=True) == "+1.00"


def test_the_difference_is_paired_by_seed() -> None:
    # errors rise by 10 with each seed, which the pairing takes out: differences of seeds 1 and 2 are -1 and -3
    baseline = summarise_runs("baseline", {str(seed): record(seed, 10.0 * seed) for seed in (0, 1, 2)})
    method = summarise_runs("cutmix", {"x": record(2, 17.0), "y": record(1, 9.0), "z": record(7, 0.0)})
    found = difference(method, baseline)
    assert found is not None
    assert (found["baseline"], found["seeds"]) == ("baseline", [2, 1])
    assert found["mean"]["last10_error_percent"] == -2.0
    assert found["spread"]["last10_error_percent"] == pytest.approx(2**0.5)
    assert mean_and_spread(found, "best_error_percent", sign=True) == "-2.00 ± 1.41"


def test_without_a_common_seed_there_is_no_difference() -> None:
    baseline, method = summarise_runs("baseline", {"a": record(0, 1.0)}), summarise_runs("mixup", {"b": record(1, 1.0)})
    assert difference(method, baseline) is None
