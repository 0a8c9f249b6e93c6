import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmixup.data.splits import evenly_spaced, first_per_class, hold_out


def test_first_per_class_by_hand():
    labels = torch.tensor([2, 0, 2, 2, 0, 1])
    assert first_per_class(labels, 1).tolist() == [0, 1, 5]
    assert first_per_class(labels, 2).tolist() == [0, 1, 2, 4, 5]
    assert first_per_class(labels, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_evenly_spaced_by_hand():
    assert evenly_spaced(10, 10).tolist() == list(range(10))
    assert evenly_spaced(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly_spaced(10, 3).tolist() == [0, 3, 6]
    assert evenly_spaced(10, 0).tolist() == []


@pytest.mark.parametrize(("count", "wanted"), [(10, 0), (10, 1), (10, 3), (10, 10), (1000, 7), (0, 0)])
def test_evenly_spaced_is_ascending_and_its_steps_differ_by_one_at_most(count, wanted):
    chosen = evenly_spaced(count, wanted).tolist()
    assert len(chosen) == wanted
    assert all(0 <= index < count for index in chosen)
    steps = {b - a for a, b in itertools.pairwise(chosen)}
    assert not steps or max(steps) - min(steps) <= 1
    assert min(steps, default=1) >= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.data())
def test_hold_out_is_exact_stratified_and_repeatable(classes, data):
    labels = torch.tensor(classes)
    amount = data.draw(st.integers(1, len(classes) - 1))
    kept, held = hold_out(labels, amount, seed=7)
    assert len(held) == amount
    assert torch.cat((kept, held)).sort().values.tolist() == list(range(len(classes)))
    share = torch.bincount(labels) * amount / len(classes)
    counts = torch.bincount(labels[held], minlength=len(share))
    assert bool(((counts - share).abs() < 1).all())
    assert torch.equal(held, hold_out(labels, amount, seed=7)[1])


def test_fraction_and_seed():
    labels = torch.arange(100) % 10
    _, held = hold_out(labels, 0.2, seed=0)
    assert torch.bincount(labels[held]).tolist() == [2] * 10
    assert not torch.equal(held, hold_out(labels, 0.2, seed=1)[1])


@pytest.mark.parametrize("amount", [0, 10, -1, 1.0, 0.0, 1.5, True, "3", 0.001])
def test_bad_amounts(amount):
    with pytest.raises(ValueError, match="validation"):
        hold_out(torch.zeros(10, dtype=torch.int64), amount, seed=0)


@pytest.mark.parametrize("count", [0, -2, 1.5, True])
def test_bad_counts(count):
    with pytest.raises(ValueError, match="subset must be a number of images per class >= 1"):
        first_per_class(torch.zeros(3, dtype=torch.int64), count)
