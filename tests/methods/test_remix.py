import pytest
import torch
from torch.nn import functional as F

from alignmixup import Mixup, Remix, Switch

COUNTS = (90, 30, 29, 10)


def batch(size=60):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(size, 3, 8, 8, generator=generator), torch.randint(4, (size,), generator=generator)


def by_hand(lam, own, partner, kappa, tau):
    """The paper's three cases."""
    if COUNTS[own] / COUNTS[partner] >= kappa and lam < tau:
        return 0.0
    if COUNTS[own] / COUNTS[partner] <= 1 / kappa and 1 - lam < tau:
        return 1.0
    return lam


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
@pytest.mark.parametrize(("kappa", "tau"), [(3.0, 0.5), (1.0, 0.9), (2.0, 0.0)])
def test_labels_follow_the_papers_cases(lam_per, kappa, tau):
    x, y = batch()
    for seed in range(5):
        mixer = Remix(num_classes=4, class_counts=COUNTS, kappa=kappa, tau=tau, lam_per=lam_per, seed=seed)
        plain = Mixup(num_classes=4, lam_per=lam_per, seed=seed)(x, y)
        mixed = mixer(x, y)
        assert torch.equal(mixed.x, plain.x)
        lam, perm = mixed.draw.lam, mixed.draw.perm
        expected = torch.tensor([
            by_hand(float(lam[row]), int(y[row]), int(y[perm[row]]), kappa, tau) for row in range(len(y))
        ])  # fmt: skip
        torch.testing.assert_close(mixed.lam, expected)
        one_hot = F.one_hot(y, 4).float()
        torch.testing.assert_close(mixed.target, expected[:, None] * one_hot + (1 - expected[:, None]) * one_hot[perm])


def test_the_bounds_belong_to_the_rule():
    """Exactly κ times as many is enough; a share of exactly τ is not below it."""
    x, y = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
    mixer = Remix(num_classes=4, class_counts=COUNTS)
    target, perm = F.one_hot(y, 4).float(), torch.tensor([1, 0])
    draw = mixer.draw(x, target)
    for lam, expected in ((0.49, (0.0, 0.49)), (0.5, (0.5, 0.5)), (0.51, (0.51, 1.0))):
        mixed = mixer.mix(x, target, type(draw)(lam=torch.full((2,), lam), perm=perm))
        torch.testing.assert_close(mixed.lam, torch.tensor(expected))


def test_with_equal_classes_it_is_mixup():
    x, y = batch()
    mixed = Remix(num_classes=4, class_counts=(5, 5, 5, 5), kappa=1.5, seed=0)(x, y)
    assert torch.equal(mixed.target, Mixup(num_classes=4, seed=0)(x, y).target)


def test_a_class_without_images_is_the_rarer_and_two_of_them_are_mixed_as_by_mixup():
    x, y = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
    perm = torch.tensor([1, 0])
    for counts, expected in (((9, 0), (0.0, 0.3)), ((0, 9), (0.3, 0.0)), ((0, 0), (0.3, 0.3))):
        mixer = Remix(num_classes=3, class_counts=(*counts, 1), kappa=1.0)
        target = F.one_hot(y, 3).float()
        draw = mixer.draw(x, target)
        mixed = mixer.mix(x, target, type(draw)(lam=torch.full((2,), 0.3), perm=perm))
        torch.testing.assert_close(mixed.lam, torch.tensor(expected))


def test_counts_must_be_known_and_fit():
    x, y = batch()
    with pytest.raises(ValueError, match=r"how many training images each class has: build it with class_counts="):
        Remix(num_classes=4)(x, y)
    with pytest.raises(ValueError, match="one number for each of 5 classes, got 4"):
        Remix(num_classes=5, class_counts=COUNTS)
    with pytest.raises(ValueError, match="one number for each of 3 classes, got 4"):
        Remix(class_counts=COUNTS)(x, F.one_hot(y % 3, 3).float())
    with pytest.raises(
        ValueError, match="class_counts must be the training images of each class, and all are 0: count"
    ):
        Remix(num_classes=4, class_counts=(0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"every element of class_counts must be >= 0, got -1"):
        Remix(num_classes=4, class_counts=(1, -1, 1, 1))


def test_a_switch_hands_the_counts_on():
    x, y = batch()
    switch = Switch(mixers=[{"name": "remix", "class_counts": list(COUNTS)}], num_classes=4, seed=0)
    assert switch(x, y).mixed
    mixers = ["remix", {"name": "remix", "class_counts": [1, 1, 1, 1]}, "mixup"]
    switch = Switch(mixers=mixers, num_classes=4, class_counts=COUNTS)
    assert [getattr(one, "class_counts", None) for one in switch._mixers] == [COUNTS, [1, 1, 1, 1], None]
