"""Calibration by hand, a plain float64 loop, torchmetrics and scikit-learn; temperatures known in closed form."""

import importlib
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.evaluation import calibration
from alignmixup.evaluation.calibration import (
    adaptive_calibration_error,
    brier_score,
    classwise_calibration_error,
    evaluate_calibration,
    expected_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    reliability_bins,
)

ERRORS = (
    expected_calibration_error,
    adaptive_calibration_error,
    classwise_calibration_error,
    overconfidence_error,
    maximum_calibration_error,
)


def predictions(seed: int, *, images: int = 400, classes: int = 6, sharpness: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(images, classes, generator=generator)
    noisy = logits + 2 * torch.randn(images, classes, generator=generator)
    return logits.softmax(dim=1), noisy.argmax(dim=1)


def by_definition(values: list[float], hits: list[float], bins: int) -> list[tuple[float, float, float]]:
    """(share, accuracy, confidence) of the bins (lo, hi] that hold something, in plain Python floats."""
    found = []
    for m in range(bins):
        low, high = m / bins, (m + 1) / bins
        inside = [n for n, c in enumerate(values) if low < c <= high or (m == 0 and c == 0)]
        if inside:
            accuracy = math.fsum(hits[n] for n in inside) / len(inside)
            found.append((len(inside) / len(values), accuracy, math.fsum(values[n] for n in inside) / len(inside)))
    return found


@pytest.mark.parametrize("bins", [1, 4, 10, 15, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_width_measures_follow_their_definitions(seed: int, bins: int) -> None:
    probs, labels = predictions(seed)
    confidence, predicted = probs.max(dim=1)
    found = by_definition(confidence.tolist(), (predicted == labels).double().tolist(), bins)
    ece = math.fsum(w * abs(a - c) for w, a, c in found)
    oe = math.fsum(w * c * max(c - a, 0) for w, a, c in found)
    mce = max(abs(a - c) for _, a, c in found)
    assert expected_calibration_error(probs, labels, bins) == pytest.approx(ece, abs=1e-12)
    assert overconfidence_error(probs, labels, bins) == pytest.approx(oe, abs=1e-12)
    assert maximum_calibration_error(probs, labels, bins) == pytest.approx(mce, abs=1e-12)
    per_class = [
        math.fsum(w * abs(a - c) for w, a, c in by_definition(probs[:, k].tolist(), (labels == k).tolist(), bins))
        for k in range(6)
    ]
    assert classwise_calibration_error(probs, labels, bins) == pytest.approx(sum(per_class) / 6, abs=1e-12)


def test_classwise_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, labels = predictions(2)
    whole = classwise_calibration_error(probs, labels)
    monkeypatch.setattr(calibration, "_CHUNK", 60)
    assert classwise_calibration_error(probs, labels) == pytest.approx(whole, abs=1e-14)


def test_by_hand() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.95, 0.05]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    # with 2 bins all three share (0.5, 1]: accuracy 1/3, confidence 2.45/3
    assert expected_calibration_error(probs, labels, 2) == pytest.approx((2.45 - 1) / 3)
    assert overconfidence_error(probs, labels, 2) == pytest.approx(2.45 / 3 * (2.45 - 1) / 3)
    # with 10, each has a bin: gaps 0.1, -0.6 and -0.95
    assert expected_calibration_error(probs, labels, 10) == pytest.approx((0.1 + 0.6 + 0.95) / 3)
    assert maximum_calibration_error(probs, labels, 10) == pytest.approx(0.95)
    assert adaptive_calibration_error(probs, labels, 3) == pytest.approx((0.1 + 0.6 + 0.95) / 3)
    assert adaptive_calibration_error(probs, labels, 2) == pytest.approx(((1.5 - 1) + 0.95) / 3)
    assert brier_score(probs, labels) == pytest.approx((2 * 0.01 + 2 * 0.36 + 2 * 0.9025) / 3)
    assert negative_log_likelihood(probs, labels) == pytest.approx(-math.log(0.9 * 0.4 * 0.05) / 3)


def test_edges_belong_to_the_bin_below_and_one_to_the_last() -> None:
    probs = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])
    bins = reliability_bins(probs, torch.tensor([0, 0, 0]), 4)
    assert bins.counts == [0, 1, 1, 1]
    assert bins.edges == [0, 0.25, 0.5, 0.75, 1]
    assert bins.confidence == [0, 0.5, 0.75, 1]
    assert bins.accuracy == [0, 1, 1, 1]


@pytest.mark.slow  # the import of torchmetrics
def test_torchmetrics_agrees_below_one_and_has_a_bin_of_its_own_for_one() -> None:
    metric = importlib.import_module("torchmetrics.functional.classification").multiclass_calibration_error
    for seed in range(3):
        probs, labels = predictions(seed)
        for norm, ours in (("l1", expected_calibration_error), ("max", maximum_calibration_error)):
            theirs = float(metric(probs, labels, num_classes=6, n_bins=15, norm=norm))
            assert ours(probs, labels) == pytest.approx(theirs, abs=1e-6)
    probs = torch.tensor([[1.0, 0.0]] * 2 + [[0.99, 0.01]] * 2)
    labels = torch.tensor([0, 0, 1, 1])
    assert expected_calibration_error(probs, labels) == pytest.approx(0.995 - 0.5, abs=1e-6)
    theirs = float(metric(probs, labels, num_classes=2, n_bins=15))  # a sixteenth bin: the right ones cost nothing
    assert theirs == pytest.approx(0.5 * 0.99, abs=1e-6)


def test_scikit_learn_agrees_on_brier_score_and_likelihood() -> None:
    metrics = importlib.import_module("sklearn.metrics")
    probs, labels = predictions(0)
    double = probs.double().numpy()
    double /= double.sum(axis=1, keepdims=True)
    likelihood = metrics.log_loss(labels.numpy(), double, labels=range(6))
    assert negative_log_likelihood(torch.from_numpy(double), labels) == pytest.approx(likelihood, abs=1e-9)
    one_hot = np.eye(6)[labels.numpy()]
    assert brier_score(torch.from_numpy(double), labels) == pytest.approx(((double - one_hot) ** 2).sum(1).mean())


@pytest.mark.parametrize("error", ERRORS)
def test_perfect_calibration_is_zero_and_order_never_matters(error) -> None:
    probs = torch.tensor([[0.75, 0.25]] * 8, dtype=torch.float64)
    labels = torch.tensor([0] * 6 + [1] * 2)
    assert error(probs, labels) == pytest.approx(0, abs=1e-15)
    generator = torch.Generator().manual_seed(0)
    probs, labels = predictions(5, images=90, classes=3)
    probs = (probs * 8).round() / 8  # many ties
    probs = torch.cat([probs[:, :2], 1 - probs[:, :2].sum(dim=1, keepdim=True)], dim=1).clamp(min=0)
    probs /= probs.sum(dim=1, keepdim=True)
    order = torch.randperm(90, generator=generator)
    assert error(probs[order], labels[order]) == pytest.approx(error(probs, labels), abs=1e-12)


def test_adaptive_bins_hold_equally_many() -> None:
    probs, labels = predictions(3, images=101)
    confidence, predicted = probs.double().max(dim=1)
    order = confidence.argsort()
    hits = (predicted == labels).double()[order].numpy()
    parts = zip(np.array_split(hits, 15), np.array_split(confidence[order].numpy(), 15), strict=True)
    expected = sum(len(a) / 101 * abs(a.mean() - c.mean()) for a, c in parts)
    assert adaptive_calibration_error(probs, labels) == pytest.approx(expected, abs=1e-12)


def test_everything_at_once() -> None:
    logits = torch.tensor([[3.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 4.0]] * 5)
    labels = torch.tensor([0, 1, 1, 1] * 5)
    result = evaluate_calibration(logits, labels)
    probs = logits.double().softmax(dim=1)
    assert result["ece_percent"] == pytest.approx(100 * expected_calibration_error(probs, labels))
    assert result["overconfidence_percent"] == pytest.approx(100 * overconfidence_error(probs, labels))
    assert result["negative_log_likelihood"] == pytest.approx(negative_log_likelihood(probs, labels))
    assert result["accuracy_percent"] == pytest.approx(75)
    assert result["mean_confidence_percent"] == pytest.approx(100 * float(probs.max(dim=1).values.mean()))
    assert sum(result["reliability"]["counts"]) == 20
    scaled = result["temperature"]
    assert (scaled["fitted_images"], scaled["images"]) == (10, 10)
    assert scaled["before"]["accuracy_percent"] == scaled["after"]["accuracy_percent"]
    assert "temperature" not in evaluate_calibration(logits[:1], labels[:1])


def test_temperature_repairs_an_overconfident_network() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    scaled = evaluate_calibration(3 * logits, labels)["temperature"]
    assert scaled["value"] == pytest.approx(3, rel=0.1)
    assert scaled["before"]["ece_percent"] > 20
    assert scaled["after"]["ece_percent"] < 3


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (torch.tensor([[2.0, -1.0]]), torch.tensor([0]), r"range from -1 to 2.*Pass logits.softmax"),
        (torch.tensor([[0.6, 0.6]]), torch.tensor([0]), r"a row is off by 0.2"),
        (torch.tensor([[float("nan"), 0.5]]), torch.tensor([0]), "rows sum to 1"),
        (torch.tensor([0.5, 0.5]), torch.tensor([0]), r"shape \(N, K\), got torch.float32 of \(2,\)"),
        (torch.empty(0, 3), torch.empty(0, dtype=torch.int64), r"of \(0, 3\)"),
        (torch.tensor([[1, 0]]), torch.tensor([0]), "floating point"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]), r"labels must be integers of shape \(1,\)"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0.0]), "labels must be integers"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), r"labels must lie in \[0, 2\), they range from 2 to 2"),
    ],
)
def test_bad_input(probs: Tensor, labels: Tensor, message: str) -> None:
    for error in ERRORS:
        with pytest.raises(ValueError, match=message):
            error(probs, labels)


def test_bad_bins_and_logits() -> None:
    with pytest.raises(ValueError, match="bins must be an integer >= 1, got 0"):
        expected_calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="logits of 1 of 2 images are not finite"):
        evaluate_calibration(torch.tensor([[float("inf"), 0.0], [0.0, 0.0]]), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"logits must be floating point of shape \(N, K\)"):
        evaluate_calibration(torch.zeros(2), torch.tensor([0, 0]))


def test_half_precision_probabilities_are_accepted() -> None:
    probs, labels = predictions(0)
    exact = expected_calibration_error(probs, labels)
    assert expected_calibration_error(probs.bfloat16(), labels) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("error", ERRORS)
def test_arrays_are_as_good_as_tensors(error) -> None:
    probs, labels = predictions(0)
    assert error(probs.numpy(), labels.numpy()) == error(probs, labels)


@pytest.mark.parametrize(("right", "logit"), [(3, 2.0), (9, 1.0), (6, 5.0)])
def test_two_classes_by_hand(right: int, logit: float) -> None:
    logits = torch.tensor([[logit, 0.0]] * 10)
    labels = torch.tensor([0] * right + [1] * (10 - right))
    if right < 5:  # worse than a coin: as flat as it gets
        assert fit_temperature(logits, labels) == pytest.approx(100)
    else:
        odds = right / (10 - right)  # softmax(z / T) = right / 10  <=>  z / T = log odds
        assert fit_temperature(logits, labels) == pytest.approx(logit / math.log(odds), rel=1e-9)


def test_minimises_the_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(300, 7, generator=generator, dtype=torch.float64)
    labels = torch.distributions.Categorical(logits=logits / 3).sample()
    best = fit_temperature(logits, labels)
    loss = {t: float(F.cross_entropy(logits / t, labels)) for t in (best, 0.98 * best, 1.02 * best)}
    assert min(loss, key=loss.__getitem__) == best


def test_a_perfect_network_gets_the_coldest() -> None:
    assert fit_temperature(torch.eye(3), torch.arange(3)) == pytest.approx(0.01)
