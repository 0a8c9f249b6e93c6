"""mCE by hand."""

import pytest

from alignmixup.evaluation.corruptions.mean_error import mean_corruption_error


def result(fog, snow, clean, **changes):
    return {
        "kinds": ["fog", "snow"],
        "severities": [1, 5],
        "images": 100,
        "source": "generated",
        "seed": 0,
        "table": "cifar",
        "clean_error_percent": clean,
        "error_percent": {"fog": fog, "snow": snow},
        **changes,
    }


def test_errors_are_added_before_the_division():
    found = mean_corruption_error(result([10.0, 30.0], [20.0, 20.0], 5.0), result([40.0, 40.0], [20.0, 60.0], 10.0))
    assert found["kind_ce_percent"] == {"fog": 50.0, "snow": 50.0}
    assert found["mce_percent"] == 50.0
    assert found["kind_relative_ce_percent"] == {"fog": 50.0, "snow": 50.0}
    assert found["relative_mce_percent"] == 50.0


def test_kinds_weigh_the_same_and_the_baseline_is_100():
    baseline = result([80.0, 80.0], [10.0, 10.0], 5.0)
    own = mean_corruption_error(baseline, baseline)
    assert (own["mce_percent"], own["relative_mce_percent"]) == (100.0, 100.0)
    found = mean_corruption_error(result([40.0, 40.0], [15.0, 15.0], 5.0), baseline)
    assert found["mce_percent"] == pytest.approx((50 + 150) / 2)
    assert found["relative_mce_percent"] == pytest.approx(100 * (35 / 75 + 10 / 5) / 2)


def test_a_kind_that_does_the_baseline_no_harm_has_no_relative_error():
    found = mean_corruption_error(result([10.0, 10.0], [9.0, 9.0], 5.0), result([20.0, 20.0], [8.0, 8.0], 8.0))
    assert found["kind_relative_ce_percent"]["snow"] is None
    assert found["relative_mce_percent"] is None
    assert found["mce_percent"] == pytest.approx(100 * (10 / 20 + 9 / 8) / 2)


@pytest.mark.parametrize("changes", [{"severities": [1, 2]}, {"images": 50}, {"seed": 1}, {"source": "folder C"}])
def test_other_corrupted_images_cannot_be_compared(changes):
    same = result([1.0, 2.0], [3.0, 4.0], 1.0)
    with pytest.raises(ValueError, match=f"same corrupted images: {next(iter(changes))}"):
        mean_corruption_error(same, result([1.0, 2.0], [3.0, 4.0], 1.0, **changes))


def test_other_kinds_and_a_perfect_baseline_are_errors():
    own = result([1.0, 2.0], [3.0, 4.0], 1.0)
    with pytest.raises(ValueError, match="only one of them has frost, snow"):
        mean_corruption_error(own, {**own, "kinds": ["fog", "frost"]})
    with pytest.raises(ValueError, match="no error under fog"):
        mean_corruption_error(own, result([0.0, 0.0], [1.0, 1.0], 0.0))
