"""A loop that cannot be edited, as timm's: `mixup_fn(input, target)` before the forward, a soft-target loss after."""

import timm
import torch
from timm.loss import SoftTargetCrossEntropy

from alignmixup import AlignMixup


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=10)
    mixup_fn = AlignMixup(model, layer="layer3", num_classes=10).drop_in()
    criterion = SoftTargetCrossEntropy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        x, y = torch.randn(8, 3, 64, 64), torch.randint(10, (8,))
        x, target = mixup_fn(x, y)
        x = x.contiguous(memory_format=torch.channels_last)
        loss = criterion(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mixup_fn.close()
    print("losses", [round(loss, 3) for loss in losses])
    return losses


if __name__ == "__main__":
    main()
