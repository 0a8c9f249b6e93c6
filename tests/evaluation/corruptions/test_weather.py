"""Weather against colour models, the definition of the fractal and OpenCV's grey; frost."""

import colorsys

import cv2
import numpy as np
import pytest
import torch

from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import TABLES
from alignmixup.evaluation.corruptions.weather import (
    brightness,
    fog,
    frost,
    frost_textures,
    luma,
    plasma,
    snow,
    spatter,
)

IMAGES = torch.rand(6, 3, 32, 32)


def draws(count=6, seed=0):
    return Draws(seed=seed, purpose="test", severity=1, numbers=range(count))


def test_brightness_raises_the_value_and_keeps_hue_and_saturation():
    pixels = torch.tensor([[0.2, 0.5, 0.1], [0.9, 0.3, 0.4], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0]])
    brighter = brightness(pixels.T.reshape(1, 3, 1, 5), (0.2,), draws(1)).reshape(3, 5).T
    for before, after in zip(pixels.tolist(), brighter.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        assert after == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1)), abs=1e-6)


def test_luma_is_opencvs_grey():
    image = IMAGES[0].permute(1, 2, 0).contiguous().numpy()
    assert np.abs(luma(IMAGES[:1])[0, 0].numpy() - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).max() < 1e-5


def test_plasma_follows_the_diamond_square_algorithm():
    size, decay = 8, 2.0

    def mean(height, *points):
        return sum(height[row % size, column % size] for row, column in points) / 4

    found = plasma(draws(2), size=size, decay=decay)
    noise = (2 * draws(2).uniform(size * size).double() - 1).numpy()
    for number in range(2):
        numbers = iter(noise[number][1:])
        height, step, amplitude = np.zeros((size, size)), size, 1.0
        while step > 1:
            half = step // 2
            cells = [(row, column) for row in range(0, size, step) for column in range(0, size, step)]

            for r, c in cells:
                height[r + half, c + half] = mean(
                    height, (r, c), (r, c + step), (r + step, c), (r + step, c + step)
                ) + amplitude * next(numbers)
            for r, c in cells:
                height[r, c + half] = mean(
                    height, (r, c), (r, c + step), (r + half, c + half), (r - half, c + half)
                ) + amplitude * next(numbers)
            for r, c in cells:
                height[r + half, c] = mean(
                    height, (r, c), (r + step, c), (r + half, c + half), (r + half, c - half)
                ) + amplitude * next(numbers)
            step, amplitude = half, amplitude / decay**2
        expected = (height - height.min()) / (height.max() - height.min())
        assert np.abs(found[number].numpy() - expected).max() < 1e-6


def test_fog_keeps_the_maximum_where_it_is_thickest():
    white = torch.ones(6, 3, 32, 32)
    foggy = fog(white, (1.5, 1.75), draws())
    assert foggy.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 6, abs=1e-5)
    assert foggy.amin(dim=(1, 2, 3)).tolist() == pytest.approx([1 / 2.5] * 6, abs=1e-5)
    # a slower decay makes rougher fog
    rough, smooth = (fog(white, (1.0, decay), draws()).diff(dim=3).abs().mean() for decay in (1.5, 3.0))
    assert rough > 2 * smooth


@pytest.mark.parametrize("channels", [1, 3])
def test_frost_mixes_a_piece_of_a_texture_in(channels):
    dark = torch.zeros(6, channels, 32, 32)
    layer = frost(dark, (0.75, 0.45), draws())
    textures = frost_textures(32)
    if channels == 3:
        piece = layer[0] / 0.45
        windows = textures.unfold(2, 32, 1).unfold(3, 32, 1)  # (5, 3, rows, columns, 32, 32)
        found = (windows[:, 0, :, :, 0, 0] - piece[0, 0, 0]).abs() < 1e-6
        assert any(torch.allclose(windows[t, :, r, c], piece, atol=1e-6) for t, r, c in found.nonzero().tolist())
    x = IMAGES[:, :channels]
    assert torch.allclose(frost(x, (0.75, 0.45), draws()), 0.75 * x + layer, atol=1e-6)


def test_snow_whitens_and_its_flakes_fall():
    whitening = (-5.0, 0.1, 1, 0.5, 8, 3, 0.8)  # no flake
    expected = 0.8 * IMAGES + 0.2 * torch.maximum(IMAGES, luma(IMAGES) * 1.5 + 0.5)
    assert torch.allclose(snow(IMAGES, whitening, draws()), expected, atol=1e-6)
    dark = torch.zeros(40, 3, 32, 32)
    flakes = snow(dark, (0.3, 0.3, 1.25, 0.65, 14, 12, 1.0), draws(40))
    assert torch.allclose(flakes, flakes.flip(2, 3), atol=1e-6)  # twice, the second time turned by half a circle
    assert torch.equal(flakes[:, 0], flakes[:, 2])
    along, across = flakes.diff(dim=2).abs().mean(), flakes.diff(dim=3).abs().mean()
    assert along < across  # smeared upwards


def test_spatter_of_water_brightens_and_mud_covers():
    water, mud = TABLES["cifar"]["spatter"][2], TABLES["cifar"]["spatter"][4]
    dark = torch.zeros(30, 3, 32, 32)
    drops = spatter(dark, water, draws(30))
    wet = drops.amax(dim=(1, 2, 3)) > 0
    assert wet.float().mean() > 0.8
    ratio = drops[:, 0][drops[:, 1] > 0] / drops[:, 1][drops[:, 1] > 0]
    assert torch.allclose(ratio, torch.full_like(ratio, 175 / 238), atol=1e-4)
    assert drops[wet].amax(dim=(1, 2, 3)) == pytest.approx(0.5 * 238 / 255, abs=1e-5)
    covered = spatter(torch.ones(30, 3, 32, 32), mud, draws(30))
    assert covered.amin(dim=(0, 2, 3)).tolist() == pytest.approx([63 / 255, 42 / 255, 20 / 255], abs=0.05)
    assert (covered == 1).float().mean() > 0.5
    grey = spatter(torch.ones(30, 1, 32, 32), mud, draws(30))
    assert grey.shape == (30, 1, 32, 32)


def test_textures_have_the_colour_and_contrast_of_photographs():
    textures = frost_textures(32)
    assert textures.shape == (5, 3, 160, 160)
    assert textures.min() >= 0
    assert textures.max() <= 1
    colour = 255 * textures.mean(dim=(2, 3))
    expected = torch.tensor([[78, 149, 166], [201, 205, 214], [201, 205, 214], [138, 153, 165], [112, 123, 135]])
    assert (colour - expected).abs().max() < 3
    spread = 255 * textures.mean(dim=1).flatten(1).std(dim=1)
    assert (spread - torch.tensor([15, 19, 19, 25, 34])).abs().max() < 3


@pytest.mark.parametrize(("side", "brightness", "roughness"), [(32, 160, 19.1), (64, 160, 14.9), (224, 160, 11.8)])
def test_pieces_are_as_bright_and_as_rough_as_those_of_the_photographs(side, brightness, roughness):
    """Means over random pieces of the photographs, at the scale that the benchmark has for images of that size."""
    grey = 255 * luma(frost_textures(side))
    found = (grey.diff(dim=2).abs().mean() + grey.diff(dim=3).abs().mean()) / 2
    assert grey.mean() == pytest.approx(brightness, abs=2.5)
    assert found == pytest.approx(roughness, rel=0.06)


def test_no_two_are_equal_and_all_are_always_the_same():
    textures = frost_textures(8).clone()
    assert not torch.allclose(textures[1], textures[2], atol=0.05)
    frost_textures.cache_clear()
    assert torch.equal(frost_textures(8), textures)


def test_the_coarse_one_is_smoother_than_the_fine_one():
    textures = frost_textures(32)
    roughness = textures.diff(dim=2).std(dim=(1, 2, 3)) / textures.std(dim=(2, 3)).mean(dim=1)
    assert roughness[0] < 0.6 * roughness[3]
