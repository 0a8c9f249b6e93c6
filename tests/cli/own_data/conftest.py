"""Folders of small images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Maker = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Makes class folders of stripes, grey unless another mode is named."""
    monkeypatch.chdir(tmp_path)

    def make(*splits: str, count: int = 10, side: int = 20, mode: str = "L", classes: str = "ab") -> Path:
        root, random = tmp_path / "my images", np.random.default_rng(0)
        for split in splits or ("",):
            for label, name in enumerate(classes):
                place = root / split / name
                place.mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 80, (side, side), dtype=np.uint8)
                    pixels[:: label + 2] = 255
                    Image.fromarray(pixels).convert(mode).save(place / f"{number}.png")
        return root

    return make
