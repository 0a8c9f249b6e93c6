import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alignmixup import RegMixup, Switch

CRITERIA = {
    "cross-entropy": nn.CrossEntropyLoss(),
    "weights": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 0.5])),
    "smoothing": nn.CrossEntropyLoss(label_smoothing=0.1),
    "binary": nn.BCEWithLogitsLoss(),
}


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, 3, 8, 5, generator=generator), torch.randint(4, (6,), generator=generator)


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_clean_images_stand_before_their_mixtures(lam_per):
    x, y = batch()
    mixed = RegMixup(num_classes=4, lam_per=lam_per)(x, y)
    clean, one_hot = mixed.x[:6], F.one_hot(y, 4).float()
    lam, perm = mixed.draw.lam, mixed.draw.perm
    assert torch.equal(clean, x)
    torch.testing.assert_close(mixed.x[6:], lam.view(6, 1, 1, 1) * x + (1 - lam.view(6, 1, 1, 1)) * x[perm])
    assert torch.equal(mixed.target[:6], one_hot)
    torch.testing.assert_close(mixed.target[6:], lam[:, None] * one_hot + (1 - lam[:, None]) * one_hot[perm])
    assert torch.equal(mixed.lam, torch.cat((torch.ones(6), lam)))
    assert torch.equal(mixed.perm, torch.cat((torch.arange(6), perm)))


@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("name", CRITERIA)
def test_the_loss_is_the_weighted_mean_of_two(name, eta):
    x, y = batch()
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    mixed, criterion = RegMixup(num_classes=4, eta=eta, seed=0)(x, y), CRITERIA[name]
    lam = float(mixed.draw.lam[0])
    own, partner = mixed.pair_targets()[0][6:], mixed.pair_targets()[1][6:]
    if name == "binary":
        clean, both = criterion(logits[:6], mixed.target[:6]), criterion(logits[6:], mixed.target[6:])
    elif name == "weights":  # soft labels are divided by the weights they have, as in one batch of mixtures
        weight = criterion.weight
        clean = criterion(logits[:6], y)
        terms = F.cross_entropy(logits[6:], mixed.target[6:], weight=weight, reduction="sum")
        both = terms / (mixed.target[6:] @ weight).sum()
    else:
        clean = criterion(logits[:6], y)
        both = lam * criterion(logits[6:], own.argmax(1)) + (1 - lam) * criterion(logits[6:], partner.argmax(1))
    torch.testing.assert_close(mixed.loss(logits, criterion), (clean + eta * both) / (1 + eta), rtol=1e-4, atol=1e-5)
    if eta == 1 and name != "weights":
        torch.testing.assert_close(criterion(logits, mixed.target), mixed.loss(logits, criterion), rtol=1e-4, atol=1e-5)


def test_other_weights_do_not_unpack_and_are_no_drop_in():
    x, target = RegMixup(num_classes=4).drop_in()(*batch())
    assert (len(x), len(target)) == (12, 12)
    mixer = RegMixup(num_classes=4, eta=2.0)
    with pytest.raises(TypeError, match="cannot be unpacked"):
        x, target = mixer(*batch())
    with pytest.raises(TypeError, match=r"eta=2 weighs two losses, which a drop-in cannot do: use eta=1"):
        mixer.drop_in()
    switch = Switch(mixers=[{"name": "regmixup", "eta": 2.0}], num_classes=4, seed=0)
    assert switch.is_scoped
    with pytest.raises(TypeError, match="weighs two losses"):
        switch.drop_in()


def test_a_batch_that_is_not_mixed_is_as_long_as_before():
    never = RegMixup(num_classes=4, probability=0.0)(*batch())
    assert len(never.x) == 6
    assert never.clean_weight is None
