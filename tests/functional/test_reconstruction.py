import math

import numpy as np
import pytest
import torch

from alignmixup.functional.reconstruction import peak_signal_to_noise, structural_similarity


def seeded(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def ssim_by_loops(first, second, window):
    """Eq. (13) of the paper, window by window, in numpy."""
    first, second = first.double().numpy(), second.double().numpy()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    batch, channels, height, width = first.shape
    for b in range(batch):
        for c in range(channels):
            for i in range(height - window + 1):
                for j in range(width - window + 1):
                    x, y = (a[b, c, i : i + window, j : j + window] for a in (first, second))
                    covariance = ((x - x.mean()) * (y - y.mean())).mean()
                    found.append(
                        (2 * x.mean() * y.mean() + c1)
                        * (2 * covariance + c2)
                        / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2))
                    )
    return np.mean(found)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_ssim_is_the_papers(window):
    first, second = seeded(2, 3, 9, 8), seeded(2, 3, 9, 8, seed=1)
    expected = ssim_by_loops(first, second, window)
    assert structural_similarity(first, second, window=window).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_of_flat_images_by_hand():
    black, grey = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.5)
    assert structural_similarity(black, grey).item() == pytest.approx(1e-4 / (0.25 + 1e-4), rel=1e-4)


def test_ssim_is_one_for_equal_images_only_and_symmetric():
    first, second = seeded(2, 3, 16, 16), seeded(2, 3, 16, 16, seed=1)
    assert structural_similarity(first, first).item() == pytest.approx(1)
    forth, back = structural_similarity(first, second), structural_similarity(second, first)
    torch.testing.assert_close(forth, back)
    assert forth < 0.2


def test_images_smaller_than_the_window_are_one_window():
    first, second = seeded(2, 1, 4, 4), seeded(2, 1, 4, 4, seed=1)
    torch.testing.assert_close(structural_similarity(first, second), structural_similarity(first, second, window=4))


def test_ssim_has_exact_gradients():
    first, second = seeded(1, 1, 5, 5).double().requires_grad_(), seeded(1, 1, 5, 5, seed=1).double()
    assert torch.autograd.gradcheck(lambda a: structural_similarity(a, second, window=3), first)


def test_psnr_by_hand():
    first = torch.zeros(3, 1, 2, 2)
    second = torch.stack([torch.full((1, 2, 2), value) for value in (1.0, 0.1, 0.0)])
    found = peak_signal_to_noise(first, second)
    torch.testing.assert_close(found, torch.tensor([0.0, 20.0, math.inf]))
    assert peak_signal_to_noise(first.bfloat16(), second.bfloat16()).dtype == torch.float32
