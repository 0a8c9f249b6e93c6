"""Scores and metrics of detection, by hand, by brute force and against scikit-learn and torchmetrics' definitions."""

import json
import math

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from alignmixup.evaluation.ood import (
    CONVENTIONS,
    SCORES,
    cut_to_equal,
    detection_metrics,
    evaluate_ood,
    score,
)


def normal(count, mean=0.0, seed=0):
    return mean + torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_scores_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert score("msp", logits).tolist() == pytest.approx([3 / 5, 1 / 3])
    assert score("energy", logits).tolist() == pytest.approx([math.log(5), math.log(3)])
    assert score("max_logit", logits).tolist() == pytest.approx([math.log(3), 0])
    entropy = -(0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2))
    assert score("entropy", logits).tolist() == pytest.approx([-entropy, -math.log(3)])


@pytest.mark.parametrize("name", SCORES)
def test_sure_networks_score_higher_and_do_not_saturate(name):
    margins = torch.tensor([0.0, 1.0, 5.0, 17.0, 20.0, 30.0])
    logits = torch.stack((margins, torch.zeros(6), torch.zeros(6)), dim=1)
    scores = score(name, logits)
    assert scores.dtype == torch.float64
    assert (scores.diff() > 0).all()
    assert logits.softmax(dim=1).amax(dim=1)[3:].tolist() != sorted(set(scores[3:].tolist()))
    assert score(name, logits.half()).tolist() == pytest.approx(scores.tolist())


def test_wrong_scores():
    with pytest.raises(ValueError, match="did you mean entropy"):
        score("entropi", torch.zeros(1, 2))
    for wrong in (torch.zeros(3), torch.zeros(0, 3), torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"\(N, K\)"):
            score("msp", wrong)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="1 of 2 images have logits that are not finite"):
            score("msp", torch.tensor([[0.0, 1.0], [bad, 0.0]]))


def brute_force(s_in, s_out):
    """Every metric from its definition, without sorting."""
    higher = sum((a > b) + 0.5 * (a == b) for a in s_in for b in s_out) / (len(s_in) * len(s_out))
    values = sorted(set(s_in + s_out))
    delta = max(d for d in values if sum(a >= d for a in s_in) >= 0.95 * len(s_in) - 1e-9)
    accuracy = max(
        0.5 * sum(a > d for a in s_in) / len(s_in) + 0.5 * sum(b <= d for b in s_out) / len(s_out)
        for d in [-math.inf, *values]
    )

    def average_precision(positive, negative):
        total, found = 0.0, 0
        for d in sorted(set(positive + negative), reverse=True):
            hits, others = sum(a >= d for a in positive), sum(b >= d for b in negative)
            total += (hits - found) / len(positive) * hits / (hits + others)
            found = hits
        return total

    return {
        "auroc": higher,
        "aupr_in": average_precision(s_in, s_out),
        "aupr_out": average_precision([-b for b in s_out], [-a for a in s_in]),
        "fpr95": sum(b >= delta for b in s_out) / len(s_out),
        "tnr95": 1 - sum(b >= delta for b in s_out) / len(s_out),
        "detection_accuracy": accuracy,
    }


@pytest.mark.parametrize("decimals", [0, 1, 6])  # few decimals: many ties
@pytest.mark.parametrize(("inside", "outside"), [(1, 1), (1, 7), (20, 20), (19, 40), (41, 13)])
def test_metrics_are_their_definitions(inside, outside, decimals):
    s_in, s_out = normal(inside, 1.0, 1).round(decimals=decimals), normal(outside, 0.0, 2).round(decimals=decimals)
    found = detection_metrics(s_in, s_out)
    assert found == pytest.approx(brute_force(s_in.tolist(), s_out.tolist()), abs=1e-12)


def test_metrics_are_scikit_learns_on_many_images():
    s_in, s_out = normal(3000, 1.0, 1).round(decimals=2), normal(2000, 0.0, 2).round(decimals=2)
    found = detection_metrics(s_in, s_out)
    labels = [1] * 3000 + [0] * 2000
    together = torch.cat((s_in, s_out)).numpy()
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, together), abs=1e-12)
    assert found["aupr_in"] == pytest.approx(average_precision_score(labels, together), abs=1e-12)


@pytest.mark.parametrize(
    ("s_in", "s_out", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]),  # perfectly separated
        ([0.0, 1.0], [2.0, 3.0], [0.0, 5 / 12, 5 / 12, 1.0, 0.0, 0.5]),  # the wrong way round
        ([1.0] * 4, [1.0] * 4, [0.5, 0.5, 0.5, 1.0, 0.0, 0.5]),  # all equal
        ([1.0], [0.0], [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
    ],
)
def test_extremes(s_in, s_out, expected):
    assert list(detection_metrics(torch.tensor(s_in), torch.tensor(s_out)).values()) == pytest.approx(expected)


def test_the_95_percent_threshold_counts_images():
    # 20 of 20 images need 19: the threshold is the second lowest
    s_in = torch.arange(20.0)
    for value, expected in ((1.0, 1.0), (0.5, 0.0)):
        assert detection_metrics(s_in, torch.tensor([value]))["fpr95"] == expected
    # a set of 21 needs 20
    assert detection_metrics(torch.arange(21.0), torch.tensor([1.0]))["fpr95"] == 1.0


def test_scores_that_cannot_be_ranked():
    good = torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="1 of 2 in-distribution scores are not finite"):
        detection_metrics(torch.tensor([1.0, float("nan")]), good)
    for wrong in (torch.zeros(0), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match=r"out-of-distribution scores must be \(N,\)"):
            detection_metrics(good, wrong)


def test_the_result_names_sets_counts_and_conventions():
    logits = normal(300).view(100, 3) * 3
    sets = {"near": normal(60, seed=1).view(20, 3) * 2, "far": torch.zeros(150, 3)}
    result = evaluate_ood(logits, sets)
    json.dumps(result)
    assert list(result["sets"]) == ["near", "far"]
    assert (result["sets"]["near"]["in_images"], result["sets"]["near"]["out_images"]) == (20, 20)
    assert (result["sets"]["far"]["in_images"], result["sets"]["far"]["out_images"]) == (100, 100)
    for name in SCORES:
        rows = [result["sets"][key][name] for key in sets]
        assert set(rows[0]) <= set(CONVENTIONS)
        for metric, value in result["mean"][name].items():
            assert value == pytest.approx((rows[0][metric] + rows[1][metric]) / 2)
    far = result["sets"]["far"]["msp"]
    assert far["auroc"] == 1.0
    # no class reaches 1/2 of three equal ones: all of the far set is refused at 1/2
    right = (score("msp", logits) > 0.5).double().mean().item()
    assert far["detection_accuracy_at_half"] == pytest.approx(0.5 + 0.5 * right)
    whole = evaluate_ood(logits, sets, scores=["energy"], counts="all")["sets"]["near"]
    assert (whole["in_images"], whole["out_images"]) == (100, 20)
    assert whole["energy"]["aupr_in"] > result["sets"]["near"]["energy"]["aupr_in"]


def test_what_float32_would_say_is_told():
    margins_in, margins_out = torch.tensor([25.0, 26.0]), torch.tensor([20.0, 21.0])
    logits = [torch.stack((m, torch.zeros(2)), dim=1) for m in (margins_in, margins_out)]
    msp = evaluate_ood(logits[0], {"other": logits[1]}, scores=["msp"])["sets"]["other"]["msp"]
    assert (msp["auroc"], msp["auroc_float32"]) == (1.0, 0.5)


def test_cutting_keeps_all_parts_of_a_sorted_file():
    long, short = torch.arange(1000), torch.arange(10)
    cut, same = cut_to_equal(long, short)
    assert torch.equal(same, short)
    assert cut.tolist() == list(range(0, 1000, 100))
    assert [len(part) for part in cut_to_equal(short, long)] == [10, 10]


def test_wrong_requests():
    logits = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="one set and one score"):
        evaluate_ood(logits, {})
    with pytest.raises(ValueError, match="one set and one score"):
        evaluate_ood(logits, {"a": logits}, scores=["msp", "msp"])
    with pytest.raises(ValueError, match="logits of the same classes"):
        evaluate_ood(logits, {"a": torch.zeros(4, 2)})
    with pytest.raises(ValueError, match="'equal' or 'all'"):
        evaluate_ood(logits, {"a": logits}, counts="some")
