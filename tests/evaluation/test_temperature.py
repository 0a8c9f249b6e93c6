"""Temperatures known in closed form."""

import math

import pytest
import torch
import torch.nn.functional as F

from alignmixup.evaluation.temperature import fit_temperature


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
