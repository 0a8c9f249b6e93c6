"""The picture of a style autoencoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alignmixup.figures.style_grid import draw_style_grid
from alignmixup.models.style_autoencoder import load_style_autoencoder


@pytest.mark.parametrize("channels", [1, 3])
def test_contents_stand_left_styles_above_and_reconstructions_between(
    tmp_path: Path, drawn: list[Any], channels: int
) -> None:
    images = torch.rand(3, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    draw_style_grid(load_style_autoencoder("patches:2"), images, tmp_path / "grid.png")
    shown = [np.asarray(axes.images[0].get_array()) if axes.images else None for axes in drawn[0].axes]
    assert shown[0] is None
    for number, image in enumerate(images):
        pixels = image.expand(3, -1, -1).movedim(0, -1).numpy()
        np.testing.assert_array_equal(shown[1 + number], pixels)
        np.testing.assert_array_equal(shown[4 * (1 + number)], pixels)
        np.testing.assert_allclose(shown[5 * (1 + number)], pixels, atol=1e-5)  # patches lose nothing
