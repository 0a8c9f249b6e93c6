"""Noise against its formulas."""

import pytest
import torch

from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from alignmixup.evaluation.corruptions.strengths import TABLES

IMAGES = 60


def changed(corruption, value, parameters):
    x = torch.full((IMAGES, 3, 32, 32), value)
    draws = Draws(seed=0, purpose="test", severity=1, numbers=range(IMAGES))
    return corruption(x, parameters, draws)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("table", ["cifar", "tiny-imagenet", "imagenet"])
def test_gaussian_noise_has_the_standard_deviation_of_the_table(table, severity):
    (scale,) = parameters = TABLES[table]["gaussian_noise"][severity - 1]
    noise = changed(gaussian_noise, 0.4, parameters) - 0.4
    assert noise.std().item() == pytest.approx(scale, rel=0.01)
    assert noise.mean().item() == pytest.approx(0, abs=0.01 * scale)
    channels = noise.movedim(1, 0).flatten(1).corrcoef()
    assert (channels - torch.eye(3)).abs().max() < 0.02


@pytest.mark.parametrize("photons", [500.0, 3.0])
def test_shot_noise_has_the_variance_of_counted_photons(photons):
    noisy = changed(shot_noise, 0.3, (photons,))
    assert noisy.mean().item() == pytest.approx(0.3, rel=0.01)
    assert noisy.var().item() == pytest.approx(0.3 / photons, rel=0.02)
    assert torch.allclose(noisy * photons, (noisy * photons).round(), atol=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.27])
def test_impulse_noise_sets_a_share_of_values_to_black_and_white(share):
    noisy = changed(impulse_noise, 0.5, (share,))
    for value in (0, 1):
        assert (noisy == value).float().mean().item() == pytest.approx(share / 2, rel=0.05)
    assert ((noisy == 0.5) | (noisy == 0) | (noisy == 1)).all()


@pytest.mark.parametrize("value", [0.0, 0.2, 0.8])
def test_speckle_noise_grows_with_the_value(value):
    noise = changed(speckle_noise, value, (0.15,)) - value
    assert noise.std().item() == pytest.approx(0.15 * value, rel=0.01)
