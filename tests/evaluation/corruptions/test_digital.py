"""Digital corruptions against PIL, SciPy, OpenCV and colour models."""

import colorsys
import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from alignmixup.evaluation.corruptions.digital import (
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from alignmixup.evaluation.corruptions.draws import Draws

IMAGES = torch.randint(256, (3, 3, 32, 32)) / 255


def draws(count=3):
    return Draws(seed=0, purpose="test", severity=1, numbers=range(count))


def bytes_of(x):
    return (x.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


@pytest.mark.parametrize("quality", [80, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pils(quality, channels):
    found = bytes_of(jpeg_compression(IMAGES[:, :channels], (quality,), draws()))
    for image, changed in zip(bytes_of(IMAGES[:, :channels]), found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality)
        assert np.array_equal(np.asarray(Image.open(file)), changed.squeeze())


def test_pixelate_averages_boxes():
    halved = pixelate(IMAGES, (0.5,), draws())
    boxes = torch.nn.functional.avg_pool2d(IMAGES, 2)
    assert (halved[:, :, ::2, ::2] - boxes).abs().max() <= 1.01 / 255  # PIL rounds rows, then columns
    assert torch.equal(halved[:, :, ::2], halved[:, :, 1::2])


def test_contrast_scales_about_each_channels_mean():
    flat = contrast(IMAGES, (0.3,), draws())
    assert torch.allclose(flat.mean(dim=(2, 3)), IMAGES.mean(dim=(2, 3)), atol=1e-6)
    assert torch.allclose(flat.std(dim=(2, 3)), 0.3 * IMAGES.std(dim=(2, 3)), atol=1e-6)


@pytest.mark.parametrize("parameters", [(0.3, 0.0), (2.5, 0.2)])
def test_saturate_changes_saturation_alone(parameters):
    pixels = torch.tensor([[0.2, 0.5, 0.1], [0.9, 0.3, 0.4], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.1, 0.2, 0.9]])
    found = saturate(pixels.T.reshape(1, 3, 1, 5), parameters, draws(1)).reshape(3, 5).T
    for before, after in zip(pixels.tolist(), found.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        changed = min(saturation * parameters[0] + parameters[1], 1)
        assert after == pytest.approx(colorsys.hsv_to_rgb(hue, changed, value), abs=1e-6)
    assert torch.equal(saturate(IMAGES[:, :1], parameters, draws()), IMAGES[:, :1])


def test_elastic_without_amplitude_and_jitter_is_the_image():
    assert torch.allclose(elastic_transform(IMAGES, (0, 0, 0), draws()), IMAGES, atol=2e-5)


def test_elastic_is_an_affine_map_then_a_smooth_field():
    amplitude, sigma, jitter = 1.6, 3.0, 2.24
    smooth_images = torch.from_numpy(ndimage.gaussian_filter(IMAGES.numpy(), (0, 0, 2, 2)))
    found = elastic_transform(smooth_images, (amplitude, sigma, jitter), draws())
    stream, side = draws(), 32
    moves = jitter * (2 * stream.uniform(3, 2).numpy() - 1)
    fields = amplitude * ndimage.gaussian_filter(
        2 * stream.uniform(2, side, side).numpy() - 1, (0, 0, sigma, sigma), mode="reflect", truncate=3
    )
    corners = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    column, row = np.meshgrid(np.arange(side), np.arange(side))
    for image, move, (right, down), changed in zip(smooth_images.numpy(), moves, fields, found.numpy(), strict=True):
        matrix = cv2.getAffineTransform(corners, (corners + move).astype(np.float32))
        warped = cv2.warpAffine(image.transpose(1, 2, 0), matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        for channel in range(3):
            expected = ndimage.map_coordinates(
                warped[..., channel], (row + down, column + right), order=1, mode="reflect"
            )
            # OpenCV may round coordinates to 1/32 of a pixel
            assert np.abs(changed[channel] - expected).max() < 0.01
