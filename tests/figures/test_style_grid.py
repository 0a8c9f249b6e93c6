"""The picture of a style autoencoder."""

from pathlib import Path

import pytest
import torch

from alignmixup.figures.style_grid import draw_style_grid
from alignmixup.models.style_autoencoder import load_style_autoencoder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_appears(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "grid.png"
    images = torch.rand(3, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    draw_style_grid(load_style_autoencoder("patches:2"), images, path)
    assert path.read_bytes().startswith(b"\x89PNG")
