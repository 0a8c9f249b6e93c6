"""Blurs against SciPy, OpenCV and the published loop."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from alignmixup.evaluation.corruptions.blur import (
    clipped_zoom,
    defocus_blur,
    gaussian_blur,
    glass_blur,
    motion,
    motion_blur,
    smooth,
    zoom_blur,
)
from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import TABLES

IMAGES = torch.rand(4, 3, 24, 24)


def draws(count=4):
    return Draws(seed=0, purpose="test", severity=1, numbers=range(count))


@pytest.mark.parametrize(("border", "mode", "truncate"), [("edge", "nearest", 4.0), ("symmetric", "reflect", 3.0)])
@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.6, 1.5, 9.0])
def test_smoothing_is_scipys(sigma, border, mode, truncate):
    expected = ndimage.gaussian_filter(IMAGES.numpy(), (0, 0, sigma, sigma), mode=mode, truncate=truncate)
    assert np.abs(smooth(IMAGES, sigma, border=border, truncate=truncate).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("blur", ["gaussian_blur", "defocus_blur", "zoom_blur", "motion_blur", "glass_blur"])
@pytest.mark.parametrize("severity", [1, 5])
def test_a_constant_image_stays_and_a_mean_is_kept(blur, severity):
    function = {
        "gaussian_blur": gaussian_blur,
        "defocus_blur": defocus_blur,
        "zoom_blur": zoom_blur,
        "motion_blur": motion_blur,
        "glass_blur": glass_blur,
    }[blur]
    parameters = TABLES["cifar"][blur][severity - 1]
    constant = torch.full((2, 3, 32, 32), 51 / 255)
    assert torch.allclose(function(constant, parameters, draws(2)), constant, atol=1e-5)
    middle = torch.zeros(4, 1, 32, 32)
    middle[:, :, 8:24, 8:24] = torch.rand(4, 1, 16, 16)
    blurred = function(middle, parameters, draws())
    # zooming enlarges the middle; pixels that glass moves are copied, so that its mean is kept on average only
    if blur != "zoom_blur":
        assert blurred.mean().item() == pytest.approx(middle.mean().item(), rel=0.1 if blur == "glass_blur" else 0.05)
    if severity == 5:
        assert blurred.std() < middle.std()


@pytest.mark.parametrize(("radius", "softening"), [(1.5, 0.1), (3.0, 0.1), (10.0, 0.5)])
def test_defocus_averages_over_a_disk(radius, softening):
    side = 41
    point = torch.zeros(1, 1, side, side)
    point[..., side // 2, side // 2] = 1
    spread = defocus_blur(point, (radius, softening), draws(1))[0, 0]
    line = torch.arange(side) - side // 2
    distance = (line[:, None] ** 2 + line**2).double().sqrt()
    area = int((distance <= radius).sum())
    # OpenCV mirrors what the softening takes beyond the largest kernel's border; published so
    assert spread.sum().item() == pytest.approx(1 if radius <= 8 else 1.0108, abs=1e-4)
    if radius > 3:
        assert spread[distance <= radius - 3].sub(1 / area).abs().max() < 1e-6
    assert spread[distance > radius + 3].abs().max() < 1e-6
    assert torch.allclose(spread, spread.T, atol=1e-7)


def test_defocus_is_opencvs_filter_with_mirrored_borders():
    disk = np.zeros((17, 17), np.float32)
    disk[7:10, 8] = disk[8, 7:10] = 1 / 5
    kernel = cv2.GaussianBlur(disk, (3, 3), 0.2)
    expected = cv2.filter2D(IMAGES[0, 0].numpy(), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(defocus_blur(IMAGES, (1.0, 0.2), draws())[0, 0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.05, 1.25, 2.25, 4.5])
@pytest.mark.parametrize("side", [24, 33])
def test_zoom_is_scipys(factor, side):
    image = torch.rand(1, 1, side, side)
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    zoomed = ndimage.zoom(image[0, 0, top : top + cut, top : top + cut].numpy(), factor, order=1)
    trim = (len(zoomed) - side) // 2
    expected = zoomed[trim : trim + side, trim : trim + side]
    assert np.abs(clipped_zoom(image, factor)[0, 0].numpy() - expected).max() < 1e-5


def test_zoom_blur_counts_the_image_twice():
    # below 1.01 * 24 pixels nothing is enlarged: factors 1 and 1.01 are the image itself
    assert torch.allclose(zoom_blur(IMAGES, (1.015, 0.01), draws()), IMAGES, atol=1e-6)
    expected = (2 * IMAGES + clipped_zoom(IMAGES, 1.5)) / 3
    assert torch.allclose(zoom_blur(IMAGES, (1.9, 0.5), draws()), expected, atol=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 45.0, -45.0, -90.0, 20.0, -135.0])
def test_motion_takes_weights_of_half_a_gaussian_along_its_direction(degrees):
    radius, sigma = 3, 2.0
    x = torch.rand(1, 2, 20, 20)
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(x[0].numpy(), ((0, 0), (8, 8), (8, 8)), mode="edge")
    expected = np.zeros((2, 20, 20))
    for tap, weight in zip(taps, weights, strict=True):
        dx = math.ceil(tap * math.cos(math.radians(degrees)) - 0.5)
        dy = math.ceil(tap * math.sin(math.radians(degrees)) - 0.5)
        expected += weight * padded[:, 8 + dy : 28 + dy, 8 + dx : 28 + dx]
    found = motion(x, radius, sigma, degrees=torch.tensor([degrees], dtype=torch.float64))[0].numpy()
    assert np.abs(found - expected).max() <= 0.5 / 255 + 1e-6
    assert np.abs(found * 255 - np.rint(found * 255)).max() < 1e-3


def test_each_image_moves_along_its_own_direction():
    x = IMAGES[:2]
    degrees = torch.tensor([0.0, 90.0], dtype=torch.float64)
    both = motion(x, 3, 2.0, degrees=degrees)
    for i in range(2):
        assert torch.equal(both[i], motion(x[i : i + 1], 3, 2.0, degrees=degrees[i : i + 1])[0])
    # along x rows stay rows: a horizontal smear keeps images that do not change along x
    stripes = torch.linspace(0, 1, 24).round(decimals=1).view(1, 1, 24, 1).expand(2, 3, 24, 24).contiguous()
    kept, smeared = (motion(stripes, 3, 2.0, degrees=degrees) - stripes).abs().amax(dim=(1, 2, 3)).tolist()
    assert kept < 0.5 / 255 + 1e-6
    assert smeared > 0.03


@pytest.mark.parametrize(("reach", "passes"), [(1, 1), (1, 2), (2, 1), (2, 3), (4, 2)])
def test_glass_is_the_published_loop(reach, passes):
    x = (IMAGES * 255).round() / 255
    found = glass_blur(x, (0.0, reach, passes), draws())
    stream, side = draws(), x.shape[-1]
    expected = (x.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    for _ in range(passes):
        offset = stream.integers(-reach, reach, side, side, 2).numpy()
        for image, moves in zip(expected, offset, strict=True):
            for row in range(side - reach, reach, -1):
                for column in range(side - reach, reach, -1):
                    dx, dy = moves[row, column]
                    image[row, column] = image[row + dy, column + dx]
    assert np.array_equal((found.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8), expected)
