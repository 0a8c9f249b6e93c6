import copy
from functools import partial

import pytest
import torch
from tests.networks import shallow_resnet
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from alignmixup import DenseMultiMix, Switch
from alignmixup.functional import sinkhorn
from alignmixup.functional.transport.options import Alignment
from alignmixup.methods.base import LateLabels
from alignmixup.methods.dense_multimix import mix_map


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, 32, 32, generator=generator), torch.randint(5, (size,), generator=generator)


def carried_by_hand(z, maps, weights):
    """Of each mixture the features and the attention of all examples, at the positions of its heaviest one."""
    result = []
    for own in weights:
        heaviest = int(own.argmax())
        features, attentions = [], []
        for example in range(len(z)):
            here, there = z[heaviest].flatten(1), z[example].flatten(1)
            share = torch.eye(here.shape[1], dtype=z.dtype)  # of each position there, for each position here
            if example != heaviest:
                distances = (here[:, :, None] - there[:, None]).square().sum(0).detach()
                share = sinkhorn(distances[None], 0.1).plan[0] * here.shape[1]
            features.append((there @ share.T).view(z.shape[1:]))
            attentions.append((share @ maps[example].flatten()).view(z.shape[2:]))
        result.append((features, attentions))
    return result


def by_hand(net, x, y, weights, attention, aligned=False):
    """The paper's words, one mixture and one position after the other."""
    z = net.norm(net.stage4(net.stage3(net.stage2(net.stage1(net.stem(x))))))
    one_hot, terms, labels = F.one_hot(y, 5).to(z.dtype), [], []
    maps = []
    for features in z.detach():
        pooled = features.mean((1, 2))
        agreement = torch.einsum("c,chw->hw", pooled, features).relu()
        maps.append(agreement / agreement.sum() if attention == "pooled" else torch.ones_like(agreement))
    mixtures = carried_by_hand(z, maps, weights) if aligned else [(z, maps)] * len(weights)
    for row in range(z.shape[2]):
        for column in range(z.shape[3]):
            for own, (examples, attentions) in zip(weights, mixtures, strict=True):
                factors = torch.stack([w * a[row, column] for w, a in zip(own, attentions, strict=True)])
                factors = factors / factors.sum()
                label = sum(f * t for f, t in zip(factors, one_hot, strict=True))
                feature = sum(f * e[:, row, column] for f, e in zip(factors, examples, strict=True))
                labels.append(label)
                terms.append(-(label * F.log_softmax(net.head.weight @ feature + net.head.bias, dim=0)).sum())
    return torch.stack(terms).mean(), torch.stack(labels)


def backward(net, loss):
    net.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attention", ["pooled", "uniform"])
def test_loss_labels_and_gradients_are_those_of_the_papers_words(attention, dtype, aligned):
    net, (x, y) = shallow_resnet(5, strides=(1, 2, 2, 2)).to(dtype), batch()
    x, twin = x.to(dtype), copy.deepcopy(net)
    mixer = DenseMultiMix(net, num_classes=5, mixtures=7, attention=attention, aligned=aligned, seed=0)
    with mixer(x, y) as mixed:
        assert mixed.x is x
        logits = net(mixed.x)
        assert logits.shape == mixed.output_target.shape == (7 * 16, 5)
        loss = mixed.loss(logits)
        found = backward(net, loss)
    expected, labels = by_hand(twin, x, y, mixed.draw.weights, attention, aligned)
    torch.testing.assert_close(mixed.output_target, labels.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed.output_target.sum(1), torch.ones(7 * 16))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, backward(twin, expected), rtol=1e-3, atol=1e-4)
    if attention == "uniform":
        torch.testing.assert_close(mixed.output_target, mixed.target.repeat(16, 1))
    else:
        assert not torch.allclose(mixed.output_target, mixed.target.repeat(16, 1), atol=1e-3)
    assert mixed.target.shape == (7, 5)


def test_where_nobody_attends_weights_stay():
    features = torch.zeros(3, 4, 2, 2)
    features[:, :, 0, 0] = 1  # elsewhere the product with the mean is 0
    weights = torch.tensor([[0.2, 0.3, 0.5]])
    target, late = torch.eye(3), LateLabels()
    mixed = mix_map(features, weights=weights, target=target, attention="pooled", late=late)
    assert mixed.shape == (4, 4, 1, 1)
    torch.testing.assert_close(late.found, weights.expand(4, 3))
    none = mix_map(features * 0, weights=weights, target=target, attention="pooled", late=late)
    assert bool((none == 0).all())
    torch.testing.assert_close(late.found, weights.expand(4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rearranged_copies_of_one_image_align_exactly(dtype):
    """The heaviest example's map comes out as it is, and labels are those without attention."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(5, 12, generator=generator, dtype=dtype)
    features = torch.stack([one[:, torch.randperm(12, generator=generator)] for _ in range(4)])
    weights, target = torch.rand(9, 4, generator=generator).softmax(1), torch.eye(4)
    off = []
    for epsilon in (1.0, 0.1, 0.01):
        late, alignment = LateLabels(), Alignment(epsilon=epsilon)
        maps = features.view(4, 5, 3, 4)
        mixed = mix_map(maps, weights=weights, target=target, attention="pooled", alignment=alignment, late=late)
        expected = features[weights.argmax(1)].permute(2, 0, 1).flatten(0, 1)[..., None, None]
        off.append(float((mixed - expected).abs().max()))
    torch.testing.assert_close(mixed, expected, rtol=1e-3, atol=1e-3)
    assert off[0] > 10 * off[1]
    # where the image itself attends to nothing, nobody does
    torch.testing.assert_close(late.found, weights.repeat(12, 1), rtol=1e-3, atol=1e-3)


def test_gradients_reach_each_aligned_example():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(5, 3, generator=generator, dtype=torch.float64).softmax(1)
    fixed = features.detach().clone()

    def mixed(maps):
        options = {"weights": weights, "target": torch.eye(3), "alignment": Alignment(), "late": LateLabels()}
        return mix_map(fixed + (maps - maps.detach()), attention="pooled", **options)

    (gradient,) = torch.autograd.grad(mixed(features).square().sum(), features)
    assert bool((gradient.flatten(1).abs().sum(1) > 0.1).all())


def test_a_large_map_is_not_aligned():
    mixer = DenseMultiMix(shallow_resnet(5), num_classes=5, mixtures=7, aligned=True, max_positions=3)
    message = "plan of 16 x 16 positions, and max_positions is 3: name a smaller map"
    with pytest.raises(ValueError, match=message), mixer(*batch()) as mixed:
        mixer.model(mixed.x)


def test_an_aligned_batch_may_be_of_one():
    net, (x, y) = shallow_resnet(5), batch(1)
    mixer = DenseMultiMix(net, num_classes=5, mixtures=7, aligned=True)
    with mixer(x, y) as mixed:
        assert bool(mixed.loss(net(mixed.x)).isfinite())
    torch.testing.assert_close(mixed.output_target, F.one_hot(y, 5).float().expand(len(mixed.output_target), 5))


def test_it_mixes_where_the_mean_is_read():
    net = shallow_resnet(5)
    mixer = DenseMultiMix(net, num_classes=5)
    mixer.prepare(batch()[0])
    assert mixer.layers == ("norm",)


class Tokens(nn.Module):
    """Patches as tokens, read by their mean or by a class token."""

    def __init__(self, reads):
        super().__init__()
        self.reads = reads
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 12)) if reads == "class" else None
        self.block = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True)
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(len(x), 1, 12), x), dim=1)
        x = self.block(x)
        return self.head(self.norm(x[:, 0] if self.cls_token is not None else x.mean(1)))


def test_tokens_that_are_averaged_are_positions():
    torch.manual_seed(0)
    net, (x, y) = Tokens("mean"), batch()
    mixer = DenseMultiMix(net, num_classes=5, mixtures=9)
    with mixer(x, y) as mixed:
        logits = net(mixed.x)
        assert logits.shape == (9 * 16, 5)
        mixed.loss(logits).backward()
    assert mixer.layers == ("block",)


def flat():
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


@pytest.mark.parametrize("build", [flat, lambda: Tokens("class")], ids=["flattened", "class token"])
def test_a_network_that_reads_more_than_the_mean_is_refused(build):
    torch.manual_seed(0)
    mixer = DenseMultiMix(build(), num_classes=5)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"classifies each position by itself, and the model .*, or use MultiMix"):
            mixer(*batch())


def test_an_earlier_map_is_refused():
    mixer = DenseMultiMix(shallow_resnet(5), num_classes=5, layer="stage3")
    with pytest.raises(ValueError, match="reads more than the mean of layer 'stage3'"):
        mixer(*batch())


def test_labels_come_with_the_forward_pass():
    net, (x, y) = shallow_resnet(5), batch()
    mixer = DenseMultiMix(net, num_classes=5, mixtures=7)
    with mixer(x, y) as mixed:
        with pytest.raises(RuntimeError, match=r"labels of this batch are found by the forward pass: call model"):
            mixed.loss(torch.zeros(7 * 16, 5))
        net(mixed.x)
        assert len(mixed.output_target) == 7 * 16
    with pytest.raises(TypeError, match="DenseMultiMix finds labels in the forward pass, which a drop-in cannot"):
        mixer.drop_in()
    switch = Switch(net, mixers=["dense_multimix"], num_classes=5)
    with pytest.raises(TypeError, match="finds labels in the forward pass"):
        switch.drop_in()(x, y)
    with switch(x, y) as mixed:
        mixed.loss(net(mixed.x)).backward()


@pytest.mark.parametrize("aligned", [False, True])
def test_channels_last_and_half_precision(aligned):
    net, (x, y) = shallow_resnet(5).to(memory_format=torch.channels_last), batch()
    mixer = DenseMultiMix(net, num_classes=5, mixtures=7, aligned=aligned)
    with torch.autocast("cpu", dtype=torch.bfloat16), mixer(x.to(memory_format=torch.channels_last), y) as mixed:
        loss = mixed.loss(net(mixed.x))
    assert mixed.output_target.dtype == torch.float32
    torch.testing.assert_close(mixed.output_target.sum(1), torch.ones(7 * 16))
    assert bool(loss.isfinite())


def test_compiled_and_checkpointed_it_is_the_same():
    torch._dynamo.reset()
    net, (x, y) = shallow_resnet(5, strides=(1, 2, 2, 2)), batch()

    def step(run, net):
        with DenseMultiMix(net, num_classes=5, mixtures=7, aligned=True, seed=0)(x, y) as mixed:
            loss = mixed.loss(run(mixed.x))
            return mixed.output_target, *backward(net, loss)

    copies = [copy.deepcopy(net) for _ in range(3)]
    expected = step(copies[0], copies[0])
    compiled = torch.compile(copies[1], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(compiled, copies[1]), expected, rtol=1e-3, atol=1e-4)
    twice = partial(checkpoint, copies[2], use_reentrant=False)
    torch.testing.assert_close(step(twice, copies[2]), expected, rtol=1e-3, atol=1e-4)
