"""The first mixed batch: PyTorch is all that it needs."""

import platform

import torch
from torch import nn

import alignmixup


def main() -> float:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))
    mixer = alignmixup.AlignMixup(model, num_classes=10)
    x, y = torch.randn(8, 3, 16, 16), torch.randint(10, (8,))
    with mixer(x, y) as batch:
        loss = batch.loss(model(batch.x), nn.functional.cross_entropy)
        loss.backward()
    return float(loss.detach())


if __name__ == "__main__":
    versions = f"alignmixup {alignmixup.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{versions}: loss {main():.3f}")
