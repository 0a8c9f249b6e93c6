"""Means and spreads over seeds, and the distance to a baseline."""

from typing import Any

import pytest
from tests.runs.comparison.conftest import own

from alignmixup import runs
from alignmixup.runs.comparison.results import difference, mean_and_spread, summarise_runs

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


def test_a_row_is_compared_with_the_baseline_that_differs_in_the_method_alone(trained: list[str]) -> None:
    files = [
        own("wide.toml", "[model]\nwidth = 32", "digits/baseline"),
        own("plain.toml", "", "digits/baseline"),
        own("mix.toml", ""),
    ]
    found = {method["name"]: method["difference"] for method in runs.compare(files, seeds=1, out="all")["methods"]}
    assert found["mix"]["baseline"] == "plain"
    assert "differing" not in found["mix"]
    assert found["wide"] is found["plain"] is None


def test_another_baseline_stands_in_where_it_is_the_only_one_and_says_so(trained: list[str]) -> None:
    files = [own(f"{name}.toml", f"[model]\nwidth = {name[1:]}", "digits/baseline") for name in ("w16", "w32")]
    files.append(own("mix.toml", "[optimizer]\nlr = 0.3"))
    one = runs.compare(files[1:], seeds=1, out="one")["methods"][1]["difference"]
    assert (one["baseline"], one["differing"]) == ("w32", ["model.width", "optimizer.lr"])
    assert runs.compare(files, seeds=1, out="two")["methods"][2]["difference"] is None
