"""Fixtures of the method tests: a small network, a batch, and mixers built as the digits configurations build them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from alignmixup import Mixer
from alignmixup.models import PreActResNet18

NUM_CLASSES = 5


@pytest.fixture
def net() -> PreActResNet18:
    """A network whose last map (2 x 2) is read position by position: BatchNorm and ReLU stand before the pooling."""
    torch.manual_seed(0)
    return PreActResNet18(NUM_CLASSES, width=4, final_norm=True)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 3, 16, 16, generator=generator), torch.randint(NUM_CLASSES, (7,), generator=generator)


@pytest.fixture
def make(net: PreActResNet18, digits_mixer: Callable[..., Mixer]) -> Callable[..., Mixer]:
    """Build a method as its digits configuration does, for ``net`` unless another model is given."""

    def build(name: str, *, model: Any = net, **changes: Any) -> Mixer:
        return digits_mixer(name, model, **changes)

    return build
