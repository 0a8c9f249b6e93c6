"""What a network does not see of an image, of networks whose strides say it."""

import pytest
import torch
from torch import nn

from alignmixup import models
from alignmixup.taps.border import unseen_border


@pytest.mark.parametrize(
    ("layers", "size", "expected"),
    [
        ([nn.Conv2d(3, 4, 4, stride=4)], (8, 8), 0),
        ([nn.Conv2d(3, 4, 4, stride=4)], (11, 9), 3),  # rows below
        ([nn.Conv2d(3, 4, 4, stride=4)], (8, 10), 2),  # columns at the right
        ([nn.ZeroPad2d((-1, 0, -2, 0)), nn.Conv2d(3, 4, 3, padding=1)], (8, 8), 2),  # rows above
        ([nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.Unfold(4, stride=4)], (46, 46), 4),  # behind a padded layer
        ([nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveMaxPool2d(1)], (8, 8), 0),  # a few positions of many
        ([nn.AdaptiveAvgPool2d(1)], (9, 7), 0),
    ],
)
def test_is_what_the_strides_leave(layers: list[nn.Module], size: tuple[int, int], expected: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))
    images = torch.zeros(2, 3, *size)
    model(images)
    assert unseen_border(model, images) == expected
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_of_a_network_that_answers_the_same_to_every_image_nothing_is_said() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    nn.init.zeros_(model[1].weight)
    assert unseen_border(model, torch.zeros(2, 3, 8, 8)) == 0

    class Detached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach().mean((2, 3))

    assert unseen_border(Detached(), torch.zeros(2, 3, 8, 8)) == 0


class Residual(nn.Module):
    """A branch whose last gain starts at zero, as timm's do, beside a shortcut that reads every other pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4))
        self.shortcut = nn.Conv2d(3, 4, 1, stride=2)
        nn.init.zeros_(self.branch[1].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.branch(x) + self.shortcut(x)).mean((2, 3))


def test_a_branch_that_starts_at_zero_counts() -> None:
    model = Residual()
    assert unseen_border(model, torch.zeros(2, 3, 8, 8)) == 0
    assert not model.branch[1].weight.any()


@pytest.mark.parametrize("name", ["resnet18", "regnety_002"])
def test_new_networks_see_whole_images(name: str) -> None:
    network = models.build(f"timm:{name}", num_classes=3)
    assert unseen_border(network, torch.zeros(2, 3, 32, 32)) == 0


def test_of_a_network_of_patches_behind_a_convolution() -> None:
    network = models.build("timm:tnt_s_legacy_patch16_224", num_classes=3, options={"image_size": 40})
    assert unseen_border(network, torch.zeros(1, 3, 40, 40)) == 8
