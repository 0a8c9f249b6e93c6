import numpy as np
import pytest
import torch

from alignmixup import FMix
from alignmixup.methods.fmix import low_frequency_images, split


def published(noise, height, width, decay):
    """The published routine with given noise: interleaved parts as real coefficients of half the row frequencies."""
    across = np.fft.fftfreq(width)[: width // 2 + 1]
    frequency = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + across**2)
    amplitude = np.maximum(frequency, 1 / max(height, width)) ** -decay
    coefficients = (amplitude[..., None] * noise).reshape(height, -1)
    return np.fft.irfft2(coefficients[:, : width // 2 + 1], (height, width))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 17), (17, 24), (5, 3)])
@pytest.mark.parametrize("decay", [0.0, 3.0, 6.0])
def test_images_equal_the_published_ones(height, width, decay):
    noise = np.random.default_rng(0).standard_normal((height, width // 2 + 1, 2))
    expected = published(noise, height, width, decay)
    found = low_frequency_images(torch.tensor(noise)[None], height, width, decay, "as_released")[0].double().numpy()
    np.testing.assert_allclose(found / abs(found).max(), expected / abs(expected).max(), atol=1e-4)


def test_released_masks_are_point_symmetric_and_described_ones_are_not():
    noise = torch.randn(1, 32, 17, 2, generator=torch.Generator().manual_seed(0))
    turned = {}
    for variant in ("as_released", "as_described"):
        image = low_frequency_images(noise, 32, 32, 3.0, variant)
        turned[variant] = torch.allclose(
            image, image.flip(1, 2).roll((1, 1), (1, 2)), atol=1e-3 * float(image.abs().max())
        )
    assert turned == {"as_released": True, "as_described": False}


def test_the_spectrum_decays():
    """A power of decay d leaves amplitudes in proportion to 1 / f^d: their logarithms have the slope -d."""
    noise = torch.randn(400, 32, 17, 2, generator=torch.Generator().manual_seed(0))
    power = torch.fft.rfft2(low_frequency_images(noise, 32, 32, 2.0, "as_described")).abs().square().mean(0)
    one, four = power[1, 1].log(), power[4, 4].log()
    assert float(four - one) == pytest.approx(-2 * 2.0 * np.log(4), abs=0.4)


@pytest.mark.parametrize("softness", [0.0, 0.1, 0.5])
def test_the_brightest_share_is_the_first_examples_and_its_mean_is_exact(softness):
    values = torch.randn(40, 7, 9, generator=torch.Generator().manual_seed(0))
    lam = torch.linspace(0, 1, 40)
    mask, share = split(values, lam, softness)
    torch.testing.assert_close(share, (lam * 63).round() / 63)
    torch.testing.assert_close(mask.mean((1, 2)), share)
    order = values.flatten(1).argsort(dim=1, descending=True)
    ranked = mask.flatten(1).gather(1, order)
    assert (ranked.diff(dim=1) <= 0).all()
    if softness == 0:
        assert set(mask.unique().tolist()) == {0.0, 1.0}
    else:  # the published slope: evenly from 1 to 0, over as many pixels on both sides as there are
        soft = min(int(softness * 63), 24, 63 - 24)
        expected = np.concatenate([np.ones(24 - soft), np.linspace(1, 0, 2 * soft), np.zeros(63 - 24 - soft)])
        np.testing.assert_allclose(
            split(values[:1], torch.tensor([24 / 63]), softness)[0].flatten()[order[0]], expected, atol=1e-5
        )


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_pixels_are_of_one_image_or_the_other_and_labels_count_them(lam_per):
    x, y = torch.rand(6, 3, 24, 17), torch.arange(6)
    for _ in range(5):
        batch = FMix(num_classes=6, lam_per=lam_per)(x, y)
        mask = batch.mask()[:, None].bool()
        assert torch.equal(batch.x, torch.where(mask, x, x[batch.perm]))
        torch.testing.assert_close(batch.lam, mask.float().mean((1, 2, 3)))
        assert torch.allclose(batch.lam, batch.draw.lam, atol=0.51 / (24 * 17))
