"""AlignMixup on an unmodified torchvision network, compiled; the mixer is built before the model is first run."""

import torch
import torchvision
from torch import nn

from alignmixup import AlignMixup


def main(steps: int = 3, backend: str = "inductor") -> list[float]:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    mixer = AlignMixup(model, layer="layer3", num_classes=10)
    compiled = torch.compile(model, backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        x, y = torch.randn(8, 3, 64, 64), torch.randint(10, (8,))
        with mixer(x, y) as batch:
            loss = batch.loss(compiled(batch.x), nn.functional.cross_entropy)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    print("losses", [round(loss, 3) for loss in losses])
    return losses


if __name__ == "__main__":
    main()
