"""AlignMixup in a training loop of your own, on scikit-learn's real handwritten digits: seconds on a CPU."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from alignmixup import AlignMixup
from alignmixup.models import PreActResNet18


def main(epochs: int = 8) -> float:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16 - 0.3
    y = torch.tensor(digits.target)
    train, test = slice(0, 1200), slice(1200, None)

    model = PreActResNet18(10, width=8, in_channels=1, strides=(1, 2, 1, 1), final_norm=True)
    mixer = AlignMixup(model, num_classes=10, layer="stage4")
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    for _ in range(epochs):
        model.train()
        for index in torch.randperm(1200).split(100):
            with mixer(x[train][index], y[train][index]) as batch:
                loss = batch.loss(model(batch.x), criterion)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    model.eval()
    with torch.no_grad():
        error = (model(x[test]).argmax(1) != y[test]).float().mean().item()
    print(f"test error {100 * error:.1f} %")
    return error


if __name__ == "__main__":
    main()
