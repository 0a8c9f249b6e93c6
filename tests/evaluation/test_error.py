"""Errors by hand and against scikit-learn."""

import importlib
import math

import pytest
import torch
from torch import Tensor, nn

from alignmixup.evaluation.error import count_errors, error_interval, evaluate_error


def test_counts_by_hand() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    wrong1, wrong5, loss, images = count_errors(logits, torch.tensor([0, 2])).tolist()
    total = math.log(math.e**2 + math.e + 1)
    assert (wrong1, wrong5, images) == (1.0, 0.0, 2.0)
    assert loss == pytest.approx((total - 2) + total, rel=1e-6)


def test_top5_needs_fewer_than_five_before() -> None:
    logits = torch.arange(7.0).expand(2, 7)
    assert count_errors(logits, torch.tensor([2, 1])).tolist()[1] == 1.0


def test_a_constant_network_scores_by_chance() -> None:
    wrong1, wrong5, _, _ = count_errors(torch.zeros(10, 10), torch.arange(10)).tolist()
    assert (wrong1, wrong5) == (9.0, 5.0)


def test_non_finite_logits_are_wrong() -> None:
    logits = torch.tensor([[float("nan"), 0.0], [float("inf"), 0.0]])
    assert count_errors(logits, torch.tensor([0, 0])).tolist()[0] == 2.0


def test_agrees_with_scikit_learn() -> None:
    metrics = importlib.import_module("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(200, 20, generator=generator), torch.randint(20, (200,), generator=generator)
    wrong1, wrong5, _, _ = count_errors(logits, y).tolist()
    for k, wrong in ((1, wrong1), (5, wrong5)):
        accuracy = metrics.top_k_accuracy_score(y.numpy(), logits.numpy(), k=k, labels=range(20))
        assert 1 - wrong / 200 == pytest.approx(accuracy, abs=1e-6)


class Echo(nn.Module):
    """Its input is its output; remembers the mode it ran in."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Dropout().eval()
        self.modes: set[bool] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.modes.add(self.training)
        return x * self.scale


def test_unequal_batches_weigh_by_images_and_modes_are_restored() -> None:
    model = Echo()
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    zero = torch.zeros(1, dtype=torch.int64)
    batches = [(right.expand(3, 2), zero.expand(3)), (wrong, zero)]
    result = evaluate_error(model, batches)
    assert (result.error_percent, result.top5_error_percent, result.images) == (25.0, 0.0, 4)
    assert model.modes == {False}
    assert model.training
    assert not model.frozen.training


def test_sums_are_reduced_once() -> None:
    calls = []

    def double(totals: Tensor) -> Tensor:
        calls.append(totals)
        return 2 * totals

    batches = [(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))] * 3
    result = evaluate_error(Echo(), batches, sum_over_ranks=double)
    assert (len(calls), result.images, result.error_percent) == (1, 6, 100.0)


def test_an_empty_loader_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_error(Echo(), [])


def test_the_interval_is_that_of_resampled_images():
    generator = torch.Generator().manual_seed(1)
    wrong = (torch.arange(400) < 60).double()
    means = torch.stack([wrong[torch.randint(400, (400,), generator=generator)].mean() for _ in range(4000)])
    expected = torch.quantile(100 * means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert error_interval(15.0, 400) == pytest.approx(expected, abs=0.4)
    assert error_interval(15.0, 400) == error_interval(15.0, 400)
    assert error_interval(0.0, 400) == [0, 0]
    assert error_interval(100.0, 400) == [100, 100]
