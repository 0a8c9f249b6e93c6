"""Criteria by hand, against float64 and against torch's own losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.training.optimization.losses import CRITERIA, bce_logits, bce_softmax, cross_entropy


def soft(batch: int, classes: int, *, seed: int = 0) -> Tensor:
    return torch.rand(batch, classes, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def logits_of(batch: int, classes: int, scale: float) -> Tensor:
    return scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(1))


def reference(logits: Tensor, target: Tensor) -> Tensor:
    """The definition in float64, with log(1 - p) by a log-sum-exp over the other classes."""
    logits, target = logits.double(), target.double()
    total = logits.logsumexp(dim=1, keepdim=True)
    others = torch.stack(
        [torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(dim=1) for k in range(logits.shape[1])], dim=1
    )
    log_p, log_not_p = (logits - total).clamp(min=-100), (others - total).clamp(min=-100)
    return -(target * log_p + (1 - target) * log_not_p).mean()


def test_bce_softmax_by_hand() -> None:
    # p = (3/4, 1/4); target (1, 0): both terms are -log(3/4).
    logits = torch.tensor([[math.log(3.0), 0.0]])
    assert bce_softmax(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(-math.log(0.75), rel=1e-6)
    assert bce_softmax(logits, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(-math.log(0.25), rel=1e-6)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])
    expected = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25))
    assert cross_entropy(logits, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(expected, rel=1e-6)


def test_bce_logits_by_hand() -> None:
    assert bce_logits(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]])).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0, 30.0, 1000.0])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_bce_softmax_matches_float64(scale: float, classes: int) -> None:
    logits, target = logits_of(8, classes, scale), soft(8, classes)
    torch.testing.assert_close(bce_softmax(logits, target), reference(logits, target).float(), rtol=2e-6, atol=1e-7)


def test_bce_softmax_matches_softmax_then_bceloss() -> None:
    logits, target = logits_of(16, 100, 2.0).double(), soft(16, 100).double()
    expected = torch.nn.BCELoss()(logits.softmax(dim=1), target)
    torch.testing.assert_close(bce_softmax(logits, target), expected.float(), rtol=1e-5, atol=1e-7)


def test_bce_softmax_is_exact_where_softmax_then_log_saturates() -> None:
    # p rounds to 1 in float32, so log(1 - p) of the naive form is cut at -100; the true value is about -20.
    logits, target = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    naive = F.binary_cross_entropy(logits.softmax(dim=1), target)
    assert naive.item() > 50
    assert bce_softmax(logits, target).item() == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_bce_softmax_gradient_is_finite_and_matches_float64(scale: float) -> None:
    logits, target = logits_of(8, 10, scale).requires_grad_(), soft(8, 10)
    bce_softmax(logits, target).backward()
    precise = logits.detach().double().requires_grad_()
    reference(precise, target).backward()
    assert logits.grad is not None
    assert precise.grad is not None
    torch.testing.assert_close(logits.grad, precise.grad.float(), rtol=1e-4, atol=1e-6)


def test_bce_softmax_gradient_is_about_one_over_classes_of_cross_entropy() -> None:
    norms = {}
    for name in ("bce_softmax", "cross_entropy"):
        logits = logits_of(64, 100, 0.1).requires_grad_()
        CRITERIA[name](logits, F.one_hot(torch.arange(64), 100).float()).backward()
        assert logits.grad is not None
        norms[name] = logits.grad.norm().item()
    assert 0.009 < norms["bce_softmax"] / norms["cross_entropy"] < 0.012


@pytest.mark.parametrize("name", sorted(CRITERIA))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, target = logits_of(4, 10, 3.0).to(dtype), soft(4, 10)
    loss = CRITERIA[name](logits, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, CRITERIA[name](logits.float(), target))


def test_bce_softmax_needs_two_classes() -> None:
    with pytest.raises(ValueError, match=r"classes >= 2\), got \(3, 1\)"):
        bce_softmax(torch.zeros(3, 1), torch.ones(3, 1))
