import copy

import pytest
import torch
from tests.networks import shallow_resnet
from torch import nn
from torch.nn import functional as F

from alignmixup import MultiMix, Switch, methods
from alignmixup.functional.sampling import dirichlet, subsets


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, 16, 16, generator=generator), torch.randint(5, (size,), generator=generator)


def by_hand(net, x, y, weights):
    """The paper's words: mix embeddings and labels, classify each mixture, take the mean of the cross-entropies."""
    embedding = net.pool(net.norm(net.stage4(net.stage3(net.stage2(net.stage1(net.stem(x))))))).flatten(1)
    one_hot, terms = F.one_hot(y, 5).float(), []
    for row in weights:
        z = sum(w * e for w, e in zip(row, embedding, strict=True))
        t = sum(w * e for w, e in zip(row, one_hot, strict=True))
        terms.append(-(t * F.log_softmax(net.head.weight @ z + net.head.bias, dim=0)).sum())
    return torch.stack(terms).mean()


def backward(net, loss):
    net.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


@pytest.mark.parametrize("layer", [None, "pool", "norm"])
@pytest.mark.parametrize("examples", [None, 3])
def test_loss_and_gradients_are_those_of_the_papers_words(layer, examples):
    net, (x, y) = shallow_resnet(5), batch()
    twin = copy.deepcopy(net)
    mixer = MultiMix(net, num_classes=5, mixtures=20, layer=layer, examples=examples, seed=0)
    with mixer(x, y) as mixed:
        assert mixed.x is x
        logits = net(mixed.x)
        assert logits.shape == mixed.target.shape == (20, 5)
        loss = mixed.loss(logits)
        found = backward(net, loss)
    expected = by_hand(twin, x, y, mixed.draw.weights)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, backward(twin, expected), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(mixed.lam, mixed.draw.weights.max(1).values)
    assert torch.equal(mixed.output_target, mixed.target)


def test_the_layer_that_is_found_is_the_classifier():
    net = shallow_resnet(5)
    mixer = MultiMix(net, num_classes=5)
    mixer.prepare(batch()[0])
    assert mixer.layers == ("head",)


def test_there_are_as_many_mixtures_whatever_the_batch():
    net = shallow_resnet(5)
    mixer = MultiMix(net, num_classes=5, mixtures=40, examples=3)
    for size in (1, 2, 6):
        with mixer(*batch(size)) as mixed, torch.no_grad():
            assert len(net(mixed.x)) == 40
        assert bool(((mixed.draw.weights > 0).sum(1) == min(3, size)).all())


def test_weights_are_dirichlets():
    """Of m weights with concentration α the mean is 1 / m, the variance (m - 1) / m² / (m α + 1)."""
    x, y = batch()
    for alpha in (0.01, 0.5, 2.0):
        mixer = MultiMix(shallow_resnet(5), num_classes=5, mixtures=4000, alpha=(alpha, alpha), seed=0)
        weights = mixer(x, y).draw.weights
        torch.testing.assert_close(weights.sum(1), torch.ones(4000))
        torch.testing.assert_close(weights.mean(0), torch.full((6,), 1 / 6), rtol=0, atol=0.03)
        torch.testing.assert_close(weights.var(0).mean().item(), 5 / 36 / (6 * alpha + 1), rtol=0.1, atol=0)


def test_each_row_has_a_concentration_of_its_own():
    alpha = torch.cat((torch.full((3000,), 0.05), torch.full((3000,), 50.0)))
    weights = dirichlet(alpha, 6000, 4, generator=torch.Generator().manual_seed(0))
    variance = weights[:3000].var(0).mean(), weights[3000:].var(0).mean()
    for found, one in zip(variance, (0.05, 50.0), strict=True):
        torch.testing.assert_close(found.item(), 3 / 16 / (4 * one + 1), rtol=0.1, atol=0)


def test_subsets_are_different_ones_each_as_often():
    chosen = subsets(3000, 5, 2, generator=torch.Generator().manual_seed(0))
    assert bool((chosen[:, 0] != chosen[:, 1]).all())
    torch.testing.assert_close(chosen.flatten().bincount() / 6000, torch.full((5,), 0.2), rtol=0, atol=0.03)


@pytest.mark.parametrize("alpha", [(1.0,), (2.0, 0.5), (0.5, 1.0, 2.0)])
def test_a_range_has_two_ends(alpha):
    with pytest.raises(ValueError, match=r"alpha must be \(least, largest\)"):
        MultiMix(shallow_resnet(5), num_classes=5, alpha=alpha)


NO_CLASSIFIER = {
    "convolution": nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "behind a linear layer": nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.Unflatten(1, (8, 1, 1)),
        nn.Conv2d(8, 5, 1), nn.Flatten(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_CLASSIFIER)
def test_a_network_without_a_linear_classifier_is_refused(name):
    net, (x, y) = NO_CLASSIFIER[name], batch()
    mixer = MultiMix(net, num_classes=5)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"Sequential has no Linear layer at its end .* layer=\.\.\."):
            mixer(x, y)
    named = MultiMix(net, num_classes=5, mixtures=9, layer="2")
    with named(x, y) as mixed:
        assert len(net(mixed.x)) == 9


def test_a_layer_past_which_something_goes_is_refused():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(48, 5), nn.Linear(48, 5)

        def forward(self, x):
            x = F.adaptive_avg_pool2d(x, 4).flatten(1)
            return self.first(x) + self.second(x)

    with pytest.raises(ValueError, match="no Linear layer at its end through which everything goes"):
        MultiMix(TwoHeads(), num_classes=5)(*batch())


def test_half_precision_networks_keep_their_type():
    net, (x, y) = shallow_resnet(5).bfloat16(), batch()
    with MultiMix(net, num_classes=5, mixtures=30)(x.bfloat16(), y) as mixed:
        logits = net(mixed.x)
        assert logits.dtype == torch.bfloat16
        assert bool(mixed.loss(logits.float()).isfinite())


def test_a_switch_may_draw_it():
    net, (x, y) = shallow_resnet(5), batch()
    switch = Switch(net, mixers=["mixup", {"name": "multimix", "mixtures": 30}], num_classes=5, seed=0)
    rows = set()
    for _ in range(8):
        with switch(x, y) as mixed:
            mixed.loss(net(mixed.x)).backward()
        rows.add(len(mixed.target))
    assert rows == {6, 30}


def test_what_is_not_found_yet_is_said():
    mixer = methods.build("multimix", model=shallow_resnet(5), num_classes=5)
    x, y = batch()
    target = F.one_hot(y, 5).float()
    with pytest.raises(ValueError, match=r"layer of MultiMix is not found yet: call mixer.prepare\(x\)"):
        mixer.mix(x, target, mixer.draw(x, target))
