from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alignmixup import Mixup
from alignmixup.methods.base import Draw, MixedBatch

X, TARGET = torch.rand(2, 3), torch.eye(2)


def test_loss_is_the_criterion_of_the_target():
    logits = torch.randn(2, 2)
    assert torch.equal(MixedBatch(X, TARGET, TARGET).loss(logits), F.cross_entropy(logits, TARGET))


def test_loss_adds_the_auxiliary_term():
    batch = MixedBatch(X, TARGET, TARGET, auxiliary=lambda: torch.tensor(2.5))
    assert batch.loss(torch.zeros(2, 2), lambda logits, target: (logits - target).sum()).item() == 0.5


def test_batches_with_an_auxiliary_loss_do_not_unpack():
    with pytest.raises(TypeError, match="cannot be unpacked"):
        list(MixedBatch(X, TARGET, TARGET, auxiliary=lambda: torch.tensor(0.0)))


def test_a_clean_batch_unpacks_and_is_a_scope():
    with MixedBatch(X, TARGET, TARGET) as batch:
        x, target = batch
    assert x is X
    assert target is TARGET


def test_a_batch_is_frozen():
    with pytest.raises(AttributeError):
        MixedBatch(X, TARGET, TARGET).x = X


def test_pair_targets_follow_the_weights_that_a_method_finds():
    draw = Draw(lam=torch.tensor([0.5, 0.5]), perm=torch.tensor([1, 0]))
    found = MixedBatch(X, TARGET, TARGET, draw, lam=torch.tensor([0.25, 1.0]))
    first, partner, lam = found.pair_targets()
    assert torch.equal(first, TARGET)
    assert torch.equal(partner, TARGET[[1, 0]])
    assert lam.tolist() == [0.25, 1.0]
    assert MixedBatch(X, TARGET, TARGET, draw).pair_targets()[2].tolist() == [0.5, 0.5]


def test_samples_of_many_parents_have_no_pairs():
    with pytest.raises(TypeError, match="mixed from more than two"):
        MixedBatch(X, TARGET, TARGET, pairwise=False).pair_targets()


def test_what_is_logged_is_always_there():
    clean = MixedBatch(X, TARGET, TARGET)
    assert (clean.lam.tolist(), clean.perm.tolist(), clean.mixed) == ([1.0, 1.0], [0, 1], False)
    draw = Draw(lam=torch.tensor([0.5, 0.25]), perm=torch.tensor([1, 0]))
    mixed = MixedBatch(X, TARGET, TARGET, draw)
    assert mixed.lam is draw.lam
    assert mixed.perm is draw.perm
    assert mixed.mixed
    with pytest.raises(TypeError, match="mixed from more than two"):
        _ = MixedBatch(X, TARGET, TARGET, pairwise=False).perm


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, lambda **options: partial(F.cross_entropy, **options)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_give_the_pair_form(smoothing, make):
    logits, y, weight = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 0]), torch.tensor([1.0, 5.0, 0.2, 3.0])
    criterion = make(weight=weight, label_smoothing=smoothing)
    batch = Mixup(num_classes=4, seed=1)(torch.rand(6, 3), y)
    lam = batch.lam[0]
    expected = lam * criterion(logits, y) + (1 - lam) * criterion(logits, y[batch.perm])
    torch.testing.assert_close(batch.loss(logits, criterion), expected)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(ignore_index=1), partial(F.cross_entropy, ignore_index=1)])
def test_an_ignored_class_is_refused(criterion):
    with pytest.raises(ValueError, match="ignore_index=1 does not go with mixed labels"):
        MixedBatch(X, TARGET, TARGET).loss(torch.randn(2, 2), criterion)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), -float("inf")])
def test_labels_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="multi-hot labels must be finite and >= 0, got"):
        Mixup()(torch.rand(2, 3), torch.tensor([[0.0, 1.0], [value, 1.0]]))


def test_labels_elsewhere_are_told_where_to_go():
    with pytest.raises(ValueError, match=r"images on cpu and labels on meta: move the labels, y.to\('cpu'\)"):
        Mixup(num_classes=3)(torch.rand(2, 3), torch.zeros(2, dtype=torch.int64, device="meta"))


def test_class_indices_of_two_axes_are_told_to_lose_one():
    with pytest.raises(ValueError, match=r"labels have 1 columns, but num_classes=3: class indices are .*squeeze"):
        Mixup(num_classes=3)(torch.rand(2, 3), torch.tensor([[0], [1]]))


@pytest.mark.parametrize(
    ("x", "y", "name"), [([[0.0]], torch.tensor([0]), "images"), (torch.rand(1, 3), [0], "labels")]
)
def test_what_is_no_tensor_is_named(x, y, name):
    with pytest.raises(TypeError, match=f"{name} must be a tensor, got list"):
        Mixup(num_classes=3)(x, y)
