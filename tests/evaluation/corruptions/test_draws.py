"""Streams of random numbers that belong to images."""

import pytest
import torch

from alignmixup.evaluation.corruptions.draws import Draws


def draws(numbers=range(4), *, seed=0, purpose="fog", severity=1):
    return Draws(seed=seed, purpose=purpose, severity=severity, numbers=numbers)


def test_an_image_has_its_own_stream_in_any_batch():
    for method in (lambda d: d.normal(3, 5), lambda d: d.uniform(), lambda d: d.integers(-2, 2, 7)):
        whole = method(draws())
        assert torch.equal(whole[2:], method(draws([2, 3])))
        assert len({tuple(row.flatten().tolist()) for row in whole}) > 1


def test_seed_purpose_and_severity_make_other_streams():
    base = draws().normal(8)
    for other in (draws(seed=1), draws(purpose="snow"), draws(severity=2)):
        assert not torch.isclose(base, other.normal(8)).any()


def test_distributions():
    stream = draws(range(8))
    normal, uniform = stream.normal(20_000), stream.uniform(20_000)
    assert normal.dtype == uniform.dtype == torch.float32
    assert normal.mean().item() == pytest.approx(0, abs=0.01)
    assert normal.std().item() == pytest.approx(1, abs=0.01)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.005)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    whole = stream.integers(-1, 2, 1000)
    assert whole.unique().tolist() == [-1, 0, 1]
    counts = stream.poisson(torch.full((8, 20_000), 7.0))
    assert counts.mean().item() == pytest.approx(7, abs=0.05)
    assert counts.var().item() == pytest.approx(7, abs=0.15)
