"""timm's loop as it stands: `mixup_fn(input, target)`, then a channels-last copy, then the model and a soft loss."""

import timm
import torch
from timm.loss import SoftTargetCrossEntropy

from alignmixup import AlignMixup


def test_a_drop_in_survives_the_channels_last_copy():
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=4)
    mixup_fn = AlignMixup(model, layer="layer3", num_classes=4, input_probability=0.0).drop_in()
    criterion = SoftTargetCrossEntropy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        x, y = torch.randn(3, 3, 64, 64), torch.tensor([0, 1, 2])
        x, target = mixup_fn(x, y)
        x = x.contiguous(memory_format=torch.channels_last)
        loss = criterion(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mixup_fn.close()
    assert all(loss > 0 for loss in losses)
