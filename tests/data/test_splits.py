import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmixup.data.splits import evenly_spaced, first_per_class, hold_out, long_tailed


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


@pytest.mark.parametrize(
    ("each", "classes", "imbalance", "total"),  # the totals that papers on long-tailed CIFAR print
    [
        (5000, 10, 10, 20431),
        (5000, 10, 50, 13996),
        (5000, 10, 100, 12406),
        (500, 100, 10, 19573),
        (500, 100, 50, 12608),
        (500, 100, 100, 10847),
    ],
)
def test_long_tailed_sets_are_the_published_ones(each, classes, imbalance, total):
    kept = long_tailed(torch.arange(each * classes) % classes, imbalance, num_classes=classes)
    counts = torch.bincount(kept % classes).tolist()
    published = [int(each * (1 / imbalance) ** (c / (classes - 1.0))) for c in range(classes)]
    assert counts == published
    assert (sum(counts), counts[0], counts[-1]) == (total, each, each // imbalance)


def test_long_tailed_by_hand():
    labels = torch.tensor([0, 1, 2] * 9)
    assert torch.bincount(labels[long_tailed(labels, 9, num_classes=3)]).tolist() == [9, 3, 1]
    assert long_tailed(labels, 9, num_classes=3).tolist() == [0, 1, 2, 3, 4, 6, 7, 9, 12, 15, 18, 21, 24]
    assert long_tailed(labels, 1, num_classes=3).tolist() == list(range(27))


@pytest.mark.parametrize(("classes", "imbalance"), [(4, 1000), (5, 16), (3, 49), (2, 49), (7, 729)])
def test_rounding_of_a_power_costs_no_image(classes, imbalance):
    first = imbalance * 3
    labels = torch.arange(first * classes) % classes
    step = round(imbalance ** (1 / (classes - 1)))
    assert torch.bincount(labels[long_tailed(labels, imbalance, num_classes=classes)]).tolist() == [
        first // step**c for c in range(classes)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.floats(1, 12))
def test_long_tailed_keeps_the_first_of_each_class_and_never_none(classes, imbalance):
    labels = torch.tensor(classes + [0] * 12)
    kept, before = long_tailed(labels, imbalance, num_classes=5), torch.bincount(labels, minlength=5)
    after = torch.bincount(labels[kept], minlength=5)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert after[0] == before[0]
    wanted = torch.tensor([int(before[0] * imbalance ** (-c / 4)) for c in range(5)])
    assert bool(((after - torch.minimum(before, wanted)).abs() <= 1).all())  # a power that rounds
    assert bool((after[before > 0] > 0).all())
    for label in range(5):
        own = (labels == label).nonzero().flatten()
        assert kept[labels[kept] == label].tolist() == own[: after[label]].tolist()


@pytest.mark.parametrize(
    ("imbalance", "classes", "message"),
    [
        (0.5, 2, "imbalance must be a number >= 1, got 0.5"),
        (float("nan"), 2, "imbalance must be a number >= 1, got nan"),
        (float("inf"), 2, "imbalance must be a number >= 1, got inf"),
        (None, 2, "imbalance must be a number >= 1, got None"),
        (True, 2, "imbalance must be a number >= 1, got True"),
        (2, 1, "imbalance=2 is between classes, and there is one class: leave it out"),
        (6, 2, "imbalance=6 leaves the last class no image, since the first has 5: take more images of each class, or"),
    ],
)
def test_bad_imbalance(imbalance, classes, message):
    with pytest.raises(ValueError, match=message):
        long_tailed(torch.tensor([0] * 5 + [classes - 1] * 5)[: 5 * classes], imbalance, num_classes=classes)
