"""Activation checkpointing runs the forward again inside the backward: the block must still be open then."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.utils.checkpoint import checkpoint

from alignmixup import AlignMixup
from alignmixup.models import PreActResNet18


class Checkpointed(nn.Module):
    def __init__(self, net, use_reentrant):
        super().__init__()
        self.net, self.use_reentrant = net, use_reentrant

    def forward(self, x):
        net = self.net
        x = net.stem(x).requires_grad_()
        for stage in (net.stage1, net.stage2, net.stage3, net.stage4):
            x = checkpoint(stage, x, use_reentrant=self.use_reentrant) if self.use_reentrant is not None else stage(x)
        return net.head(net.pool(net.norm(x)).flatten(1))


def gradient(use_reentrant):
    torch.manual_seed(0)
    model = Checkpointed(PreActResNet18(5, width=4, final_norm=True), use_reentrant)
    for module in model.modules():  # a second forward would update running statistics twice, as checkpointing does
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
    mixer = AlignMixup(
        model,
        layer="net.stage3",
        num_classes=5,
        input_probability=0.0,
        generator=torch.Generator().manual_seed(0),
    )
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(4, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 3])
    with mixer(x, y) as batch:
        batch.loss(model(batch.x)).backward()
    return model.net.stem[0].weight.grad


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_gradients_are_exact(use_reentrant):
    torch.testing.assert_close(gradient(use_reentrant), gradient(None))


class Segment(nn.Module):
    """A network whose middle may lie in a checkpoint; the layer that mixes is inside it, or its last."""

    def __init__(self, use_reentrant):
        super().__init__()
        self.use_reentrant = use_reentrant
        self.one = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 5))

    def forward(self, x):
        x = self.one(x)
        x = self.two(x) if self.use_reentrant is None else checkpoint(self.two, x, use_reentrant=self.use_reentrant)
        return self.head(x)


X, Y = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1, 2, 3])


def inside(model, mixer):
    for _ in range(2):  # accumulation
        with mixer(X, Y) as batch:
            batch.loss(model(batch.x)).backward()


def evaluation_between(model, mixer):
    for _ in range(2):
        with mixer(X, Y) as batch:
            loss = batch.loss(model(batch.x))
            model.eval()
            model(X)
            model.train()
            loss.backward()


def nested(model, mixer):
    with mixer(X, Y) as outer:
        loss = outer.loss(model(outer.x))
        with mixer(X, Y) as inner:
            inner.loss(model(inner.x)).backward()
        loss.backward()


def forward_without_backward(model, mixer):
    with mixer(X, Y) as batch:
        batch.loss(model(batch.x))
    inside(model, mixer)


def outside(model, mixer):
    """Lightning's automatic optimisation."""
    for _ in range(2):
        with mixer(X, Y) as batch:
            loss = batch.loss(model(batch.x))
        loss.backward()


def two_in_flight(model, mixer):
    losses = []
    for _ in range(2):
        with mixer(X, Y) as batch:
            losses.append(batch.loss(model(batch.x)))
    sum(losses).backward()


def in_the_next_block(model, mixer):
    with mixer(X, Y) as first:
        loss = first.loss(model(first.x))
    with mixer(X, Y) as second:
        (loss + second.loss(model(second.x))).backward()


def clean_before(model, mixer):
    loss = nn.functional.cross_entropy(model(X), Y)
    with mixer(X, Y) as batch:
        (loss + batch.loss(model(batch.x))).backward()


def clean_inside(model, mixer):
    with mixer(X, Y) as batch:
        with mixer.clean(X, Y) as clean:
            loss = clean.loss(model(clean.x))
        (loss + batch.loss(model(batch.x))).backward()


def evaluated_inside(model, mixer):
    with mixer(X, Y) as batch:
        model.eval()
        loss = nn.functional.cross_entropy(model(X), Y)
        model.train()
        (loss + batch.loss(model(batch.x))).backward()


def clean_alone(model, mixer):
    """Each in a block of its own, and what is only looked at is never repeated."""
    model.eval()
    kept = model(X)
    model.train()
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        model(X)
    with mixer.clean(X, Y) as clean:
        clean.loss(model(clean.x)).backward()
    with mixer(X, Y) as batch:
        batch.loss(model(batch.x)).backward()
    return kept


class Several(nn.Conv2d):
    """A layer that returns more than a tensor, as those of many transformers do."""

    def forward(self, x):
        return super().forward(x), None


class Tuples(Segment):
    def __init__(self, use_reentrant):
        super().__init__(use_reentrant)
        self.two.insert(0, First(Several(6, 6, 3, 1, 1)))


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0].relu()


def gradients(loop, use_reentrant, layer, network=Segment, change=None):
    torch.manual_seed(0)
    model = network(use_reentrant).train()
    mixer = AlignMixup(model, layer=layer, num_classes=5, input_probability=0.0, seed=1)
    if change is not None:
        change(model)
    loop(model, mixer)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("layer", ["two.1", "two.3"])
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("loop", [inside, evaluation_between, clean_alone])
def test_gradients_are_those_without_a_checkpoint(loop, use_reentrant, layer):
    torch.testing.assert_close(gradients(loop, use_reentrant, layer), gradients(loop, None, layer))


@pytest.mark.parametrize("layer", ["two.1", "two.3"])
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize(
    "loop", [outside, two_in_flight, in_the_next_block, nested, clean_before, clean_inside, evaluated_inside]
)
def test_a_recomputation_that_would_not_mix_as_before_is_refused(loop, use_reentrant, layer):
    if loop is nested and use_reentrant:  # which says what it repeats
        torch.testing.assert_close(gradients(nested, True, layer), gradients(nested, None, layer))
        return
    ours = rf"batch mixed at layer '{layer}'.* inside the block, or leave the layer out"
    of_torch = "|Recomputed values" if loop in (clean_before, clean_inside, evaluated_inside) else ""
    with pytest.raises(RuntimeError, match=ours + of_torch):
        gradients(loop, use_reentrant, layer)


@pytest.mark.parametrize("loop", [outside, two_in_flight, in_the_next_block])
@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_what_is_not_recomputed_may_be_differentiated_anywhere(loop, use_reentrant):
    torch.testing.assert_close(gradients(loop, use_reentrant, "one"), gradients(loop, None, "one"))


def test_a_forward_that_was_only_looked_at_leaves_no_trace():
    torch.testing.assert_close(
        gradients(forward_without_backward, False, "two.1"), gradients(forward_without_backward, None, "two.1")
    )


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_layer_that_returns_a_tuple_is_noticed_too(use_reentrant):
    layer = "two.0.layer"
    torch.testing.assert_close(gradients(inside, use_reentrant, layer, Tuples), gradients(inside, None, layer, Tuples))
    with pytest.raises(RuntimeError, match=r"batch mixed at layer 'two.0.layer'.* inside the block"):
        gradients(outside, use_reentrant, layer, Tuples)


class Offloaded(Segment):
    def __init__(self, use_reentrant):
        super().__init__(use_reentrant)
        self.two.insert(0, OnCPU(nn.Conv2d(6, 6, 3, 1, 1)))


class OnCPU(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        with torch.autograd.graph.save_on_cpu():
            return self.layer(x).relu()


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_layer_whose_activations_are_saved_elsewhere_is_noticed_too(use_reentrant):
    layer = "two.0.layer"
    without = gradients(inside, None, layer, Offloaded)
    torch.testing.assert_close(gradients(inside, use_reentrant, layer, Offloaded), without)
    torch.testing.assert_close(gradients(outside, None, layer, Offloaded), without)
    with pytest.raises(RuntimeError, match=r"batch mixed at layer 'two.0.layer'.* inside the block"):
        gradients(outside, use_reentrant, layer, Offloaded)


def frozen(model):
    nn.ModuleList([model.one, model.two[:2]]).requires_grad_(False)


def test_a_frozen_layer_that_is_run_again_for_what_lies_behind_it_is_noticed_too():
    inside_ = gradients(inside, False, "two.1", change=frozen)
    torch.testing.assert_close(inside_, gradients(inside, None, "two.1", change=frozen))
    with pytest.raises(RuntimeError, match=r"batch mixed at layer 'two.1'.* inside the block"):
        gradients(outside, False, "two.1", change=frozen)


def wrapped(model):
    model.two = checkpoint_wrapper(model.two)


def test_a_layer_that_is_wrapped_in_a_checkpoint_after_the_mixer_was_built_mixes_as_before():
    torch.testing.assert_close(gradients(inside, None, "two", change=wrapped), gradients(inside, None, "two"))
    with pytest.raises(RuntimeError, match="batch mixed at layer 'two', which lies in an activation checkpoint"):
        gradients(outside, None, "two", change=wrapped)


def replaced(model):
    model.two = copy.deepcopy(model.two)


def test_a_layer_that_is_replaced_after_the_mixer_was_built_is_refused():
    """SyncBatchNorm.convert_sync_batchnorm does so, and surgery."""
    with pytest.raises(RuntimeError, match=r"layer 'two' never ran .* no copy of it, with the layers that it had then"):
        gradients(inside, None, "two", change=replaced)
