"""The picture of detection."""

import numpy as np
import torch
from PIL import Image

from alignmixup.figures.ood import draw_ood


def test_histograms_and_curves_appear(tmp_path):
    generator = torch.Generator().manual_seed(0)
    in_logits = 4 * torch.randn(200, 5, generator=generator)
    sets = {"uniform": torch.randn(300, 5, generator=generator), "flat": torch.zeros(100, 5)}
    for name in ("msp", "energy"):
        path = tmp_path / f"{name}.png"
        draw_ood(in_logits, sets, path, name=name, title="title")
        with Image.open(path) as picture:
            assert picture.size[0] > 2.5 * picture.size[1]  # three panels in a row
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        coloured = np.ptp(pixels, axis=1) > 60
        assert 0.01 < coloured.mean() < 0.5


def test_five_sets_take_two_rows_and_equal_scores_can_be_drawn(tmp_path):
    draw_ood(torch.zeros(3, 2), {str(i): torch.zeros(2, 2) for i in range(5)}, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] < 2.5 * picture.size[1]
