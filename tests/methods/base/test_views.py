"""Layers that return views, and in-place operations behind them: the same values and gradients as without."""

import pytest
import torch
from torch import nn

from alignmixup import AlignMixup, ManifoldMixup

VIEWS = {
    "itself": (lambda x: x, "channels_first"),
    "chunk": (lambda x: x.chunk(2, 1)[0], "channels_first"),
    "split": (lambda x: x.split([2, 6], 1)[1], "channels_first"),
    "both halves": (lambda x: tuple(x.chunk(2, 1)), "channels_first"),
    "unbind": (lambda x: x.unflatten(1, (2, 4)).unbind(1)[0], "channels_first"),
    "slice": (lambda x: x[:, ::2], "channels_first"),
    "transpose": (lambda x: x.transpose(2, 3), "channels_first"),
    "reshape": (lambda x: x.reshape(len(x), 4, -1, 3), "channels_first"),
    "flatten": (lambda x: x.flatten(2), "channels_first"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), "channels_last"),
    "tokens": (lambda x: x.flatten(2).mT, "tokens"),
}


def in_place(x):
    """Every kind of in-place operation."""
    x = x.add_(0.5)
    x *= x.detach().cos()
    x[:, 0] = 0.0
    return x.relu_()


def plain(x):
    x = x + 0.5
    x = x * x.detach().cos()
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:]], 1).relu()


X, Y = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.arange(4)


class View(nn.Module):
    def __init__(self, view):
        super().__init__()
        self.view = view

    def forward(self, x):
        return self.view(x)


class Net(nn.Module):
    """A convolution, a view of its map, an operation on the view, a gain and a head."""

    def __init__(self, view, operation, *, frozen):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.view, self.gain = nn.Conv2d(3, 8, 1), View(view), nn.Parameter(torch.tensor(1.5))
        self.operation, self.frozen = operation, frozen
        sizes = self.view(torch.zeros(1, 8, 6, 6))
        self.fc = nn.Linear(sum(map(torch.numel, sizes if isinstance(sizes, tuple) else (sizes,))), 5)

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.view(self.stem(x))
        x = [self.operation(part) for part in (x if isinstance(x, tuple) else (x,))]
        return self.fc(torch.cat([part.flatten(1) for part in x], 1).mul_(self.gain).tanh())


def step(net, method, layout, *, gradients, compiled=False, **options):
    """Logits and gradients of one batch mixed at the view."""
    mixer = method(
        net.train(),
        num_classes=5,
        layer="view",
        layout=layout,
        input_probability=0.0,
        generator=torch.Generator().manual_seed(3),
        **options,
    )
    run = torch.compile(net, backend="aot_eager") if compiled else net
    with mixer(X, Y) as batch, torch.set_grad_enabled(gradients):
        logits = run(batch.x)
        if gradients:
            batch.loss(logits).backward()
    return [logits.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]


METHODS = pytest.mark.parametrize(
    ("method", "options"), [(AlignMixup, {}), (AlignMixup, {"max_positions": 9}), (ManifoldMixup, {})]
)


@METHODS
@pytest.mark.parametrize("mode", ["training", "no_grad", "frozen"])
@pytest.mark.parametrize("view", VIEWS)
def test_in_place_operations_behind_a_view_change_no_value_and_no_gradient(method, options, mode, view):
    function, layout = VIEWS[view]
    frozen, gradients = mode == "frozen", mode != "no_grad"
    found, expected = (
        step(Net(function, operation, frozen=frozen), method, layout, gradients=gradients, **options)
        for operation in (in_place, plain)
    )
    assert len(found) == {"training": 6, "no_grad": 1, "frozen": 4}[mode]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "view"),
    [
        *((method, view) for method in (AlignMixup, ManifoldMixup) for view in ("both halves", "reshape")),
        (AlignMixup, "channels last"),
        pytest.param(
            ManifoldMixup,
            "channels last",
            marks=pytest.mark.needs_torch("2.7", "compiled flatten after an operation in place on channels last"),
        ),
    ],
)
def test_compiled_too(method, view):
    torch._dynamo.reset()
    function, layout = VIEWS[view]
    found = step(Net(function, in_place, frozen=False), method, layout, gradients=True, compiled=True)
    expected = step(Net(function, plain, frozen=False), method, layout, gradients=True)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    torch._dynamo.reset()
