"""A layer that several models have is mixed where it runs for the mixer's own, however that is called."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alignmixup.taps import Attachment

X = torch.randn(2, 3, 4, 4)


class Net(nn.Module):
    def __init__(self, first, middle):
        super().__init__()
        self.body, self.last = nn.Sequential(first, middle), nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return self.last(self.body(x).relu())


class Around(nn.Module):
    def __init__(self, run, *inner):
        super().__init__()
        self.run, self.inner = run, nn.ModuleList(inner)

    def forward(self, x):
        return self.run(*self.inner, x)


def by_parts(net, x):
    return net.last(net.body[1](net.body[0](x)).relu())


class Learner(nn.Module):
    """A module that holds the model as no part of its own."""

    def __init__(self, net):
        super().__init__()
        self.held = [net]

    def step(self, x):
        return self.held[0].forward(x)


class Parts(nn.Module):
    """A module with parts of the model, which it runs in a method of its own."""

    def __init__(self, net):
        super().__init__()
        self.body, self.last = net.body, net.last

    def step(self, x):
        return self.last(self.body(x).relu())


OWN = {
    "called": lambda net, other, x: net(x),
    "forward": lambda net, other, x: net.forward(x),
    "parts": lambda net, other, x: by_parts(net, x),
    "wrapped": lambda net, other, x: Around(lambda net, x: net(x), net)(x),
    "parts, wrapped": lambda net, other, x: Around(by_parts, net)(x),
    "both wrapped": lambda net, other, x: Around(lambda net, other, x: net(x), net, other)(x),
    "functional": lambda net, other, x: torch.func.functional_call(net, dict(net.named_parameters()), (x,)),
    "parts of a learner": lambda net, other, x: Parts(net).step(x),
    "held": lambda net, other, x: Learner(net).step(x),
    "checkpoint": lambda net, other, x: checkpoint(net, x, use_reentrant=False),
    "reentrant": lambda net, other, x: checkpoint(net, x.requires_grad_(), use_reentrant=True),
}
OTHERS = {
    "called": lambda net, other, x: other(x),
    "forward": lambda net, other, x: other.forward(x),
    "inside a wrapper of both": lambda net, other, x: Around(lambda net, other, x: other(x), net, other)(x),
    "layers taken out": lambda net, other, x: nn.Sequential(*net.body, nn.ReLU(), net.last)(x),
    "evaluated": lambda net, other, x: other.last.eval() and other(x),
}


@pytest.mark.parametrize(
    ("call", "factor"),
    [pytest.param(call, 2, id=name) for name, call in OWN.items()]
    + [pytest.param(call, 1, id=f"another {name}") for name, call in OTHERS.items()],
)
def test_a_layer_is_mixed_where_it_runs_for_its_model(call, factor):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    net, other = Net(*layers), Net(*layers)
    other.last = net.last
    tap, hidden = Attachment(net, ("body.1",)), {"body.1": lambda features: 2 * features}

    def gradient(output):
        return torch.autograd.grad(output.sum(), layers[0].weight)[0]

    right = net.last((factor * net.body(X)).relu())
    tap.push(hidden)
    output = call(net, other, X.clone())
    found = gradient(output) if call is not OWN["reentrant"] else by_backward(output, layers[0].weight)
    tap.pop(hidden, check=factor == 2)
    torch.testing.assert_close(output, right)
    torch.testing.assert_close(found, gradient(right))


def by_backward(output, weight):
    output.sum().backward()
    return weight.grad
