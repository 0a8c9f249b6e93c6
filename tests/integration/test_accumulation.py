"""Gradient accumulation: several batches before one step, each with its own mixing."""

import torch

from alignmixup import ManifoldMixup
from alignmixup.models import PreActResNet18


def test_accumulated_gradients_are_the_sum():
    torch.manual_seed(0)
    net = PreActResNet18(5, width=4)
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    mixer = ManifoldMixup(net, layer="stage1", num_classes=5, input_probability=0.0)
    batches = [mixer(x, y) for _ in range(2)]

    def grads(chosen):
        net.zero_grad()
        for mixed in chosen:
            with mixed as batch:
                batch.loss(net(batch.x)).backward()
        return [p.grad.clone() for p in net.parameters()]

    together, first, second = grads(batches), grads(batches[:1]), grads(batches[1:])
    for total, one, two in zip(together, first, second, strict=True):
        torch.testing.assert_close(total, one + two, atol=1e-5, rtol=1e-4)
