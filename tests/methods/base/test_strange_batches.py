"""Batches that are allowed and rare: each is mixed rightly, or refused in a sentence. All methods, by their names."""

import copy

import pytest
import torch
from tests.networks import fitting, plain_net
from torch import nn
from torch.utils.checkpoint import checkpoint

from alignmixup import AlignMixup, methods
from alignmixup.methods.base.gradients import CleanLoss

pytestmark = [
    pytest.mark.parametrize("name", methods.available()),
    pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning"),
]
STEPS = 6


def images(*shape, classes=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator), torch.randint(classes, shape[:1], generator=generator)


def steps(net, mixer, x, y, run=None, criterion=nn.functional.cross_entropy):
    """Train a few steps, and give images, labels and loss of each."""
    found = []
    for _ in range(STEPS):
        before = x.detach().clone()
        with mixer(x, y) as batch:
            loss = batch.loss((run or net)(batch.x), criterion)
            loss.backward()
        target = batch.output_target
        torch.testing.assert_close(target.sum(1), torch.ones(len(target)))
        assert torch.equal(x, before)
        assert bool(loss.isfinite())
        found.append((batch.x.detach(), target.detach(), loss.detach()))
    return found


@pytest.fixture
def net(name):
    return fitting(name, plain_net(5))


@pytest.mark.parametrize("shape", [(7, 3, 16, 24), (1, 3, 16, 16)], ids=["wide", "one"])
def test_sides_of_any_length_and_one_image(name, shape, make, net):
    steps(net, make(name), *images(*shape))


@pytest.mark.parametrize("shape", [(4, 3, 1, 1), (4, 3, 4, 4), (3, 3, 25, 13)], ids=["pixel", "few", "odd"])
def test_sides_that_nothing_divides_train_or_are_refused_with_a_way_out(name, shape, make, net):
    try:
        steps(net, make(name), *images(*shape))
    except ValueError as refusal:
        message = str(refusal)
    else:
        return
    assert any(way in message for way in (": use ", ": name ", ": call ", "; these do: ")), message


def test_images_of_bytes_are_refused(name, make, net):
    x, y = images(6, 3, 16, 16)
    with pytest.raises(TypeError, match=r"images must be floating point, got torch.uint8: convert and normalise"):
        make(name)(x.mul(50).to(torch.uint8), y)


def test_one_class(name, make):
    net = fitting(name, plain_net(1))
    mixer, batch = make(name, model=net, num_classes=1), images(6, 3, 16, 16, classes=1)
    steps(net, mixer, *batch, criterion=nn.functional.binary_cross_entropy_with_logits)


def test_memory_in_any_order_is_the_same(name, make, net):
    x, y = images(6, 3, 16, 32)
    state = copy.deepcopy(net.state_dict())
    expected = steps(net, make(name), x[..., ::2].contiguous(), y)
    for other in (x[..., ::2], x[..., ::2].contiguous(memory_format=torch.channels_last)):
        net.load_state_dict(state)
        torch.testing.assert_close(steps(net, make(name), other, y), expected, rtol=1e-2, atol=1e-3)


def test_gradients_reach_the_images(name, make, net):
    x, y = images(6, 3, 16, 16)
    x.requires_grad_()
    steps(net, make(name), x, y)
    assert x.grad is not None
    assert bool((x.grad.flatten(1).abs().sum(1) > 0).all())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(name, mode, make, net):
    x, y = images(6, 3, 16, 16)
    mixer = make(name)
    if mode is torch.inference_mode and isinstance(mixer, CleanLoss):
        with pytest.raises(ValueError, match="no gradient of the loss reaches the images"), mode():
            mixer(x, y)
        return
    for _ in range(STEPS):
        with mode(), mixer(x, y) as batch:
            assert bool(batch.loss(net(batch.x)).isfinite())


def test_a_nan_stays_with_the_mixtures_of_its_image(name, make, net):
    """Methods that mix the input alone; inside, batch statistics spread it."""
    x, y = images(6, 3, 16, 16)
    x[3] = torch.nan
    mixer = make(name)
    for _ in range(STEPS):
        batch = mixer(x, y)
        if batch.pairwise and not batch.hidden:
            apart = (batch.perm != 3) & (torch.arange(len(batch.perm)) % 6 != 3)
            assert bool(batch.x[apart].isfinite().all())
            assert bool(batch.target.isfinite().all())


def test_checkpointed_whole(name, make):
    """Each image's own statistics: batch norm would see the batch twice."""
    losses = []
    for twice in (False, True):
        net = fitting(name, plain_net(5))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats, module.running_mean, module.running_var = False, None, None

        def run(x, net=net):
            return checkpoint(net, x, use_reentrant=False)

        mixer = make(name, model=net)
        found = steps(net, mixer, *images(6, 3, 16, 16), run=run if twice else None)
        losses.append((found, [p.grad for p in net.parameters()]))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-4)


def test_an_inner_block_shadows_an_outer_one_whether_it_is_mixed_or_not(name, make, net):
    x, y = images(6, 3, 16, 16)
    outer = AlignMixup(net, num_classes=5, layer="stage1", input_probability=0.0)
    for inner in (make(name)(x, y), make(name).clean(x, y)):
        with inner, torch.no_grad():
            expected = net(inner.x)
        with torch.no_grad(), outer(x, y) as batch:
            net(batch.x)
            with inner:
                torch.testing.assert_close(net(inner.x), expected)
