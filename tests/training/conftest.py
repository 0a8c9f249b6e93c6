"""Small runs on the real digits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alignmixup.training.config import Config
from alignmixup.training.config_file import load


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., Config]:
    """A run of about a second: 60 digits, width 4, three epochs; mixup in the input unless another method is named."""

    def make(*overrides: str, base: str = "digits/mixup") -> Config:
        small = ["data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.epochs=3", "train.batch_size=16"]
        return load(base, [*small, "train.device=cpu", "data.validation=0.0", *overrides])

    return make
