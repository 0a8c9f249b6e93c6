import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alignmixup.taps.quiet import evaluating, looking


class Noisy(nn.Module):
    """Draws, counts, keeps statistics and starts with a head of zeros."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.gain = nn.Parameter(torch.zeros(4))
        nn.init.zeros_(self.head.weight)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        random.random()
        x = F.dropout(self.norm(self.conv(x)), 0.9)
        return self.head(x.mean((2, 3)) * self.gain)


def snapshot(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        {name: (value.data_ptr(), value._version) for name, value in model.named_parameters()},
        [module.training for module in model.modules()],
        torch.get_rng_state().tolist(),
        random.getstate(),
    )


def test_a_look_leaves_no_trace():
    model = Noisy().train()
    model.conv.eval()
    x = torch.randn(4, 3, 2, 2)
    before = snapshot(model)
    with looking(model):
        model(x)
        assert not torch.is_grad_enabled()
    after = snapshot(model)
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert before[1:] == after[1:]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_look_that_fails_leaves_none_either():
    model = Noisy().train()
    before = snapshot(model)
    with pytest.raises(RuntimeError), looking(model):
        model(torch.randn(4, 2, 2, 2))
    assert snapshot(model)[1:] == before[1:]


def test_nothing_draws_and_nothing_is_hidden():
    model, x = Noisy().train(), torch.randn(4, 3, 2, 2)
    with looking(model):
        first, second = model(x), model(x)
    assert torch.equal(first, second)
    assert (first[0] - first[1]).abs().max() > 1e-3
    with looking(model, reveal=False):
        assert torch.equal(model(x)[0], model(x)[1])


def test_evaluating_restores_each_flag():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout())
    net.train()
    net[1].eval()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in net] == [True, False, True]
