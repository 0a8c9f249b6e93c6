import cv2
import numpy as np
import pytest
import torch

from alignmixup.functional.parts import PART_BYTES
from alignmixup.functional.saliency import (
    _running_sums,
    fine_grained_saliency,
    most_salient,
    raw_byte_saliency,
    spectral_residual_saliency,
)

SIZES = [(1, 7), (2, 3), (8, 8), (17, 31), (32, 32), (33, 47), (64, 48), (97, 201), (224, 224), (256, 257)]
KINDS = ["noise", "flat", "block", "ramp", "smooth", "sparse"]


def picture(kind, height, width):
    """An 8-bit RGB image (H, W, 3)."""
    rng = np.random.default_rng([height, width])
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "flat":
        image[:] = 77
    elif kind == "block":
        image[:] = 0
        image[height // 4 : height // 2, width // 3 :] = 10, 200, 90
    elif kind == "ramp":
        image[:] = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    elif kind == "smooth":
        image = cv2.GaussianBlur(image, (0, 0), 3)
    elif kind == "sparse":
        image = (image > 250).astype(np.uint8) * 255
    return image


def to_tensor(images):
    return torch.from_numpy(images).movedim(-1, 1)


def normalised(golden):
    return to_tensor(
        ((golden["image_u8"].astype(np.float32) / 255 - golden["mean"]) / golden["std"]).astype(np.float32)
    )


def test_fine_grained_by_hand():
    # grey 0, 0, 0, 240 is 0, 0, 60, 120 after one blur and 0, 15, 60, 90 after two; each surround is the other three
    # pixels, with means 55, 50, 35 and 25: on is 6 times (0, 0, 25, 65), off is 6 times (55, 35, 0, 0)
    image = torch.tensor([0, 0, 0, 240], dtype=torch.uint8).expand(1, 3, 1, 4)
    expected = torch.tensor([255, 255 * 35 // 55, 255 * 25 // 65, 255]) / 255
    torch.testing.assert_close(fine_grained_saliency(image)[0, 0], expected)


@pytest.mark.parametrize("name", ["saliencymix_cifar", "saliencymix_tiny"])
def test_maps_equal_those_of_the_published_detector(golden, name):
    vectors = golden(name)
    images = to_tensor(vectors["image_u8"])
    fine = fine_grained_saliency(images)
    assert np.array_equal(fine.numpy(), vectors["fg_u8"])
    assert np.array_equal(most_salient(fine).numpy(), vectors["argmax_u8"])
    spectral = spectral_residual_saliency(images)
    assert np.abs(spectral.numpy() - vectors["sr_u8"]).max() < 5e-4
    assert np.array_equal(most_salient(spectral).numpy(), vectors["argmax_sr_u8"])


@pytest.mark.parametrize("name", ["saliencymix_cifar", "saliencymix_tiny"])
def test_raw_bytes_equal_what_the_released_code_sees(golden, name):
    vectors = golden(name)
    found = raw_byte_saliency(normalised(vectors))
    assert np.abs(found.numpy() - vectors["fg_norm"]).max() < 1.5 / 255
    assert np.array_equal(most_salient(found).numpy(), vectors["argmax_norm"])


@pytest.mark.parametrize("kind", KINDS)
def test_maps_equal_opencv(kind):
    for size in SIZES:
        image = picture(kind, *size)
        images = to_tensor(image[None])
        fine, spectral = fine_grained_saliency(images), spectral_residual_saliency(images)
        _, expected = cv2.saliency.StaticSaliencyFineGrained_create().computeSaliency(image)
        assert np.array_equal(fine[0].numpy(), expected), size
        _, expected = cv2.saliency.StaticSaliencySpectralResidual_create().computeSaliency(image)
        # a sharp block has absent frequencies, to which OpenCV gives the phases of rounding errors
        assert np.abs(spectral[0].numpy() - expected).max() < (0.02 if kind == "block" else 5e-4), size
        row, column = most_salient(spectral)[0].tolist()
        assert expected[row, column] > expected.max() - 1 / 255 - 5e-4, size


def test_a_large_image_differs_by_the_sums_of_opencv_only():
    # past 2**24 / 255 pixels OpenCV's float32 integral rounds
    image = picture("noise", 300, 260)
    _, expected = cv2.saliency.StaticSaliencyFineGrained_create().computeSaliency(image)
    found = fine_grained_saliency(to_tensor(image[None]))[0].numpy()
    assert np.abs(found - expected).max() < 1.5 / 255
    assert (found != expected).mean() < 1e-3


def test_the_strongest_contrasts_are_the_maxima():
    image = torch.full((1, 3, 40, 40), 128, dtype=torch.uint8)
    image[..., 30, 8], image[..., 5, 20] = 255, 1
    fine = fine_grained_saliency(image)
    assert fine.max() == 1
    assert fine[0, 30, 8] == fine[0, 5, 20] == 1
    assert most_salient(fine).tolist() == [[5, 20]]


def test_red_and_blue_are_swapped_as_published_code_swaps_them():
    image = picture("noise", 24, 20)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    expected = fine_grained_saliency(to_tensor(np.repeat(grey[None, ..., None], 3, axis=-1)))
    assert torch.equal(fine_grained_saliency(to_tensor(image[None])), expected)


@pytest.mark.parametrize("detect", [fine_grained_saliency, spectral_residual_saliency])
def test_a_batch_equals_its_images_one_by_one(detect):
    # enough images for several parts
    count = 2 * PART_BYTES // (3 * 48 * 40) + 3
    images = torch.randint(0, 256, (count, 3, 48, 40), dtype=torch.uint8)
    together = detect(images)
    assert together.shape == (count, 48, 40)
    assert together.dtype == torch.float32
    assert together.min() >= 0
    assert together.max() <= 1
    for index in (0, count // 2, count - 1):
        torch.testing.assert_close(detect(images[index : index + 1])[0], together[index], atol=1e-6, rtol=0)
    assert detect(images[:0]).shape == (0, 48, 40)


@pytest.mark.parametrize("detect", [fine_grained_saliency, spectral_residual_saliency])
def test_layout_and_compilation_change_nothing(detect):
    images = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    expected = detect(images)
    assert torch.equal(detect(images.to(memory_format=torch.channels_last)), expected)
    compiled = torch.compile(detect, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), expected, atol=1e-6, rtol=0)


def test_raw_bytes_are_hardly_a_saliency(golden):
    vectors = golden("saliencymix_tiny")
    images, x = to_tensor(vectors["image_u8"]), normalised(vectors)
    pairs = zip(fine_grained_saliency(images), raw_byte_saliency(x), strict=True)
    correlations = [torch.corrcoef(torch.stack(pair).flatten(1))[0, 1].abs() for pair in pairs]
    assert max(correlations) < 0.15
    # a pixel's own value comes from the first quarter of its row
    changed = x.clone()
    changed[..., 48:] = changed[..., 48:].flip(-1)
    assert torch.equal(most_salient(raw_byte_saliency(changed)), most_salient(raw_byte_saliency(x)))


def test_most_salient_takes_the_first_of_equals_in_256_levels():
    saliency = torch.tensor([[[0.1, 0.5], [0.9005, 0.9]], [[0.0, 0.0], [0.0, 0.0]]])
    assert most_salient(saliency).tolist() == [[1, 0], [0, 0]]
    assert most_salient(saliency.flip(-1)).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("detect", [fine_grained_saliency, spectral_residual_saliency])
def test_bad_images_are_refused(detect):
    with pytest.raises(ValueError, match=r"saliency needs RGB images of shape \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        detect(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"got \(3, 8, 8\)"):
        detect(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"saliency needs 8-bit images, got torch.float32: scale to \[0, 255\]"):
        detect(torch.zeros(2, 3, 8, 8))


def test_raw_bytes_need_three_channels():
    with pytest.raises(ValueError, match=r"saliency needs RGB images of shape \(B, 3, H, W\), got \(2, 4, 8, 8\)"):
        raw_byte_saliency(torch.zeros(2, 4, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_running_sums_are_the_same_without_a_scan(dtype):
    values = (torch.randn(2, 33, 47, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    by_scan, by_product = (_running_sums(values, deterministic=flag) for flag in (False, True))
    assert by_product.dtype == dtype
    expected = values.double().cumsum(1).cumsum(2)
    torch.testing.assert_close(by_product.double(), expected, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(by_scan.double(), expected, rtol=1e-4, atol=1e-1)


def test_deterministic_mode_uses_no_scan_of_floats(monkeypatch):
    scan = torch.Tensor.cumsum

    def refusing(self, *args, **kwargs):  # as CUDA does in this mode
        assert not self.is_floating_point(), "cumsum_cuda_kernel does not have a deterministic implementation"
        return scan(self, *args, **kwargs)

    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = raw_byte_saliency(images)
    monkeypatch.setattr(torch.Tensor, "cumsum", refusing)
    torch.use_deterministic_algorithms(True)
    try:
        torch.testing.assert_close(raw_byte_saliency(images), expected, rtol=0, atol=2.5 / 255)
        fine_grained_saliency((images * 50 + 128).clamp(0, 255).byte())
    finally:
        torch.use_deterministic_algorithms(False)
