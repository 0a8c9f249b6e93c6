"""Normalisation against torchvision, and there and back."""

import importlib

import pytest
import torch

from alignmixup.normalization import Normalization

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def test_it_is_torchvision_s():
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Normalization.of(MEAN, STD).apply(pixels), v2.normalize(pixels, MEAN, STD))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back_stays_in_the_range_and_keeps_its_precision(dtype):
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype).round(decimals=1)
    normalization = Normalization.of(MEAN, STD, dtype=dtype)
    back = normalization.undo(normalization.apply(pixels))
    torch.testing.assert_close(back, pixels)
    assert back.dtype == dtype
    assert back.min() >= 0
    assert back.max() <= 1
    assert normalization.undo(normalization.apply(pixels).bfloat16()).dtype == dtype
