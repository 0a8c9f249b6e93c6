"""Fixtures of the method tests: a small network, a batch, and mixers built as the digits configurations build them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from alignmixup import Mixer, methods
from alignmixup.models import PreActResNet18
from alignmixup.training.config_file import load

CONFIGS = Path(__file__).parents[2] / "configs" / "digits"
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
def make(net: PreActResNet18) -> Callable[..., Mixer]:
    """Build a method with the options of its digits configuration, and changes to them."""

    def build(name: str, *, seed: int = 0, model: Any = net, num_classes: int = NUM_CLASSES, **changes: Any) -> Mixer:
        options = dict(load(CONFIGS / f"{name}.toml").method.options)
        known: dict[str, Any] = {"num_classes": num_classes, "mean": (0.5,), "std": (0.25,)} | {
            "class_counts": (90, 10, 40, 30, 2)[:num_classes]
        }
        return methods.build(name, model=model, **known, seed=seed, options={**options, **changes})

    return build
