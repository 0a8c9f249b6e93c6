import math

import pytest
import torch

from alignmixup import SmoothMix
from alignmixup.methods.smoothmix import spots


def test_spots_by_hand():
    centre, sigma = torch.tensor([[1, 2]]), torch.tensor([0.5])
    for shape, join in (("circle", lambda a, b: a + b), ("square", max)):
        spot = spots(centre, sigma, 3, 4, shape=shape)[0]
        for row in range(3):
            for column in range(4):
                square = join(((row - 1) / 3) ** 2, ((column - 2) / 4) ** 2)
                assert float(spot[row, column]) == pytest.approx(math.exp(-square / 0.5), abs=1e-5)


@pytest.mark.parametrize("shape", ["circle", "square"])
@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_pixels_are_weighted_sums_and_labels_the_mean_weights(lam_per, shape):
    x, y = torch.rand(6, 3, 24, 17), torch.arange(6)
    mixer = SmoothMix(num_classes=6, lam_per=lam_per, shape=shape)
    for _ in range(5):
        batch = mixer(x, y)
        weight = batch.mask()[:, None]
        torch.testing.assert_close(batch.x, weight * x + (1 - weight) * x[batch.perm], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(batch.lam, weight.mean((1, 2, 3)))
        for number, (row, column) in enumerate(batch.draw.centre.tolist()):  # the partner alone
            assert torch.equal(batch.x[number, :, row, column], x[batch.perm[number], :, row, column])


def test_half_precision_keeps_the_weights():
    x, y = torch.rand(4, 3, 16, 16), torch.arange(4)
    batches = [SmoothMix(num_classes=4, seed=0)(x.to(dtype), y) for dtype in (torch.float16, torch.float64)]
    torch.testing.assert_close(batches[0].x.double(), batches[1].x, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(batches[0].target, batches[1].target)


def test_widths_are_uniform_between_their_limits():
    x, y = torch.zeros(3000, 1, 40, 40), torch.zeros(3000, dtype=torch.int64)
    mixer = SmoothMix(num_classes=2, lam_per="sample", least_sigma=0.1, largest_sigma=0.3, seed=0)
    draw = mixer(x, y).draw
    sigma = 0.3 - 0.2 * draw.lam
    assert (float(sigma.min()), float(sigma.max())) == pytest.approx((0.1, 0.3), abs=0.01)
    assert float(sigma.mean()) == pytest.approx(0.2, abs=0.01)
    assert (draw.centre.double().mean(0) - 19.5).abs().max() < 1


def test_limits_are_in_order():
    with pytest.raises(ValueError, match=r"least_sigma must be <= largest_sigma, got 0\.6 and 0\.5"):
        SmoothMix(num_classes=2, least_sigma=0.6)
