"""Means and spreads by hand."""

import math

import pytest

from alignmixup.evaluation.summary import (
    group_by_method,
    headline,
    in_common,
    numbers_of,
    spread,
    summarise_evaluations,
)


def result(run, method, seed, error, **parts):
    numbers = {"error_percent": error, "top5_error_percent": 1.0, "cross_entropy": 2.0}
    return {"run": run, "method": method, "seed": seed, **numbers, "recorded": None, **parts}


def test_headline_takes_what_is_there():
    assert headline(result("a", "mixup", 0, 5.0)) == {
        "error_percent": 5.0,
        "top5_error_percent": 1.0,
        "cross_entropy": 2.0,
    }
    full = headline(
        result(
            "a",
            "mixup",
            0,
            5.0,
            calibration={
                "ece_percent": 3.0,
                "overconfidence_percent": 1.0,
                "mean_confidence_percent": 90.0,
                "brier": 0.1,
                "temperature": {"images": 20, "before": {"ece_percent": 2.0}, "after": {"ece_percent": 0.5}},
            },
            attacks={"attacks": [{"label": "fgsm 8/255", "error_percent": 60.0, "images": 10}]},
            ood={"mean": {"msp": dict.fromkeys(("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95"), 0.7)}},
            corruptions={"mean_error_percent": 40.0, "mce": {"mce_percent": 95.0}},
        )
        | {"recorded": {"best_error_percent": 4.0, "last10_error_percent": 5.5}}
    )
    assert full["best_error_percent"] == 4
    assert (full["unscaled_ece_percent"], full["scaled_ece_percent"]) == (2, 0.5)
    assert full["fgsm 8/255 error_percent"] == 60
    assert full["auroc_percent"] == pytest.approx(70)
    assert (full["corruption_error_percent"], full["mce_percent"]) == (40, 95)


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True)])
def test_a_top_5_error_that_can_only_be_0_is_in_no_table(classes, shown):
    several = [result(str(seed), "mixup", seed, 5.0, classes=classes) for seed in (0, 1)]
    assert ("top5_error_percent" in headline(several[0])) == shown
    assert all(("top5_error_percent" in summary["mean"]) == shown for summary in summarise_evaluations(several))


def test_groups_mean_and_spread():
    results = [result("a", "mixup", 0, 4.0), result("b", "baseline", 0, 9.0), result("c", "mixup", 1, 6.0)]
    assert list(group_by_method(results)) == ["mixup", "baseline"]
    mixup, baseline = summarise_evaluations(results)
    assert mixup["mean"]["error_percent"] == 5
    assert mixup["spread"]["error_percent"] == pytest.approx(math.sqrt(2))
    assert (mixup["seeds"], mixup["runs"]) == ([0, 1], ["a", "c"])
    assert baseline["spread"] == dict.fromkeys(("error_percent", "top5_error_percent", "cross_entropy"))


def test_a_number_that_one_run_lacks_is_left_out():
    attacked = result("b", "mixup", 1, 6.0, attacks={"attacks": [{"label": "x", "error_percent": 1.0}]})
    (summary,) = summarise_evaluations([attacked, result("a", "mixup", 0, 4.0)])
    assert list(summary["mean"]) == ["error_percent", "top5_error_percent", "cross_entropy"]


def detected(**aurocs):
    metrics = ("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95")
    sets = {
        name: {"in_images": 9, "out_images": 9, "msp": dict.fromkeys(metrics, value)} for name, value in aurocs.items()
    }
    mean = sum(aurocs.values()) / len(aurocs)
    return {"sets": sets, "mean": {"msp": dict.fromkeys(metrics, mean)}}


def corrupted(source="generated", severities=(1, 5), **kinds):
    means = {kind: sum(errors) / len(errors) for kind, errors in kinds.items()}
    return {
        "kinds": list(kinds),
        "severities": list(severities),
        "source": source,
        "clean_error_percent": 1.0,
        "error_percent": kinds,
        "kind_error_percent": means,
        "mean_error_percent": sum(means.values()) / len(means),
    }


def test_means_are_of_what_all_results_hold():
    """Results grow apart, one more set or corruption at a time; a mean of others is no answer to one question."""
    more = {"ood": detected(uniform=0.5, digits=0.9), "corruptions": corrupted(fog=[10.0, 30.0], snow=[60.0, 80.0])}
    less = {"ood": detected(digits=0.7), "corruptions": corrupted(severities=[5], snow=[90.0])}
    results = [result("a", "mixup", 0, 4.0, **more), result("b", "mixup", 1, 6.0, **less), result("c", "other", 0, 1.0)]
    mixup, other = summarise_evaluations(results)
    assert mixup["mean"]["auroc_percent"] == pytest.approx(80)
    assert mixup["mean"]["corruption_error_percent"] == pytest.approx(85)
    assert "auroc_percent" not in other["mean"]
    first, *_ = in_common(results)
    assert (first["corruptions"]["kinds"], first["corruptions"]["severities"]) == (["snow"], [5])
    assert first["corruptions"]["kind_error_percent"] == {"snow": 80}
    assert list(first["ood"]["sets"]) == ["digits"]
    assert (results[0]["ood"], results[0]["corruptions"]) == (more["ood"], more["corruptions"])  # are left as they were
    assert in_common(results[:1]) == results[:1]


@pytest.mark.parametrize(
    ("part", "first", "second"),
    [
        ("calibration", {"bins": 15}, {"bins": 10}),
        ("ood", detected(uniform=0.5), detected(digits=0.5)),
        ("corruptions", corrupted(fog=[1.0, 2.0]), corrupted(snow=[1.0, 2.0])),
        ("corruptions", corrupted(fog=[1.0, 2.0]), corrupted(severities=[2, 3], fog=[1.0, 2.0])),
        ("corruptions", corrupted(fog=[1.0, 2.0]), corrupted(source="folder C", fog=[1.0, 2.0])),
    ],
)
def test_what_was_asked_otherwise_is_left_out(part, first, second):
    several = [result(str(seed), "mixup", seed, 4.0, **{part: own}) for seed, own in enumerate((first, second))]
    assert not any(part in one for one in in_common(several))


def test_an_mce_of_other_kinds_is_left_out():
    def run(seed, kinds):
        both = corrupted(fog=[1.0, 2.0], snow=[1.0, 2.0])
        both["mce"] = {"kinds": kinds, "baseline": "base", "mce_percent": 90.0}
        return result(str(seed), "mixup", seed, 4.0, corruptions=both)

    (same,) = summarise_evaluations([run(0, ["fog"]), run(1, ["fog"])])
    assert same["mean"]["mce_percent"] == 90
    (mixed,) = summarise_evaluations([run(0, ["fog"]), run(1, ["fog", "snow"])])
    assert "mce_percent" not in mixed["mean"]
    assert mixed["mean"]["corruption_error_percent"] == 1.5


def test_spread_is_the_sample_deviation() -> None:
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5)
    assert spread([1.0]) is None


@pytest.mark.parametrize(
    ("others", "labels"),
    [
        ([{"data": "digits"}, {"data": "cifar10"}], ["mixup, data.name=digits", "mixup, data.name=cifar10"]),
        (
            [{"configuration": {"model.width": width, "data.name": "digits"}, "data": "digits"} for width in (4, 8)],
            ["mixup, model.width=4", "mixup, model.width=8"],
        ),
        ([{"data": "digits"}, {"data": "digits"}], ["mixup"]),
    ],
)
def test_only_runs_that_differ_by_their_seed_are_averaged(others, labels):
    results = [{"method": "mixup", "seed": seed, **other} for seed, other in enumerate(others)]
    assert list(group_by_method(results)) == labels


def test_each_number_has_its_count_and_a_single_run_its_interval():
    temperature = {"images": 20, "before": {"ece_percent": 2.0}, "after": {"ece_percent": 0.5}}
    calibration = dict.fromkeys(("ece_percent", "overconfidence_percent", "mean_confidence_percent", "brier"), 1.0)
    one = result(
        "a",
        "mixup",
        0,
        5.0,
        images=40,
        error_interval_percent=[2.0, 9.0],
        calibration=calibration | {"images": 39, "temperature": temperature},
        attacks={"attacks": [{"label": "pgd", "error_percent": 60.0, "images": 10}]},
    )
    counts = {key: number.images for key, number in numbers_of(one).items()}
    assert (counts["error_percent"], counts["ece_percent"], counts["pgd error_percent"]) == (40, 39, 10)
    # an ECE after scaling stands only beside one of the same images
    assert counts["scaled_ece_percent"] == counts["unscaled_ece_percent"] == 20
    (alone,) = summarise_evaluations([one])
    assert alone["interval"] == {"error_percent": [2.0, 9.0]}
    assert alone["images"]["pgd error_percent"] == [10]
    (both,) = summarise_evaluations([one, one | {"run": "b", "seed": 1, "images": 50}])
    assert both["interval"] == {}
    assert both["images"]["error_percent"] == [40, 50]


def test_runs_of_other_data_or_configurations_are_never_averaged():
    first = result("a", "mixup", 0, 4.0, data="cifar10", configuration={"model.width": 4})
    other = first | {"run": "b", "seed": 1, "data": "cifar100", "error_percent": 60.0}
    wider = first | {"run": "c", "seed": 1, "configuration": {"model.width": 8}, "error_percent": 2.0}
    for pair in ([first, other], [first, wider]):
        summaries = summarise_evaluations(pair)
        assert [summary["spread"]["error_percent"] for summary in summaries] == [None, None]
        assert [summary["mean"]["error_percent"] for summary in summaries] == [one["error_percent"] for one in pair]


def on_images(run, seed, trained_on, tested_on=None, error=4.0):
    """A result of a run of the data set folder, as measurements leave it."""
    configuration = {"data.name": "folder"} | ({"data.root": trained_on} if trained_on else {})
    settings = {"images": tested_on or trained_on} if trained_on else {}
    return result(run, "mixup", seed, error, data="folder", configuration=configuration, settings=settings)


@pytest.mark.parametrize(
    ("results", "labels"),
    [
        ([on_images("a", 0, "cats#1"), on_images("b", 1, "cats#1")], ["mixup"]),
        (
            [on_images("a", 0, "cats#1"), on_images("b", 1, "cars#2")],
            ["mixup, data.root=cats#1", "mixup, data.root=cars#2"],
        ),
        (
            [on_images("a", 0, "cats#1"), on_images("b", 1, "cats#1", "cars#2")],
            ["mixup, images=cats#1", "mixup, images=cars#2"],
        ),
        (
            [on_images("a", 0, "cats#1", "new#3"), on_images("b", 1, "cars#2", "new#3")],
            ["mixup, data.root=cats#1", "mixup, data.root=cars#2"],
        ),
        ([on_images("a", 0, "cats#1"), on_images("b", 1, "")], ["mixup"]),  # a result of before does not say
        (
            [on_images("a", 0, "cats#1"), on_images("b", 1, ""), on_images("c", 2, "cars#2")],
            ["mixup, data.root=cats#1", "mixup", "mixup, data.root=cars#2"],
        ),
    ],
)
def test_runs_on_other_images_of_one_data_set_are_never_averaged(results, labels):
    assert list(group_by_method(results)) == labels


def test_two_results_of_one_seed_are_no_spread():
    twice = [on_images("a", 0, "cats#1"), on_images("b", 0, "cats#1", error=5.0)]
    with pytest.raises(ValueError, match="a and b are both mixup with seed 0: their difference is no spread"):
        summarise_evaluations(twice)
    assert len(summarise_evaluations([twice[0], on_images("b", 0, "cars#2")])) == 2
