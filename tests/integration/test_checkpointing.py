"""Activation checkpointing runs the forward again inside the backward: the block must still be open then."""

import pytest
import torch
from torch import nn
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
