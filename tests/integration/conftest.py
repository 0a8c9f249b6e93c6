"""Methods as the digits configurations build them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from alignmixup import Mixer, methods
from alignmixup.training.config_file import load

CONFIGS = Path(__file__).parents[2] / "configs" / "digits"


@pytest.fixture
def digits_mixer() -> Callable[..., Mixer]:
    """Build a method for a network of five classes, with changes to its options."""

    def build(name: str, model: nn.Module, **changes: Any) -> Mixer:
        options = dict(load(CONFIGS / f"{name}.toml").method.options)
        known: dict[str, Any] = {"num_classes": 5, "mean": (0.5,), "std": (0.25,), "seed": 0}
        known["class_counts"] = (90, 10, 40, 30, 2)
        return methods.build(name, model=model, **known, options={**options, **changes})

    return build
