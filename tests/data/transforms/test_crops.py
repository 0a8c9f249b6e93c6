import importlib

import pytest
import torch

from alignmixup.data.transforms.crops import cut_windows, draw_box, draw_boxes, pad_crop_flip, resized_crop


def test_hand_computed_crop_and_flip():
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    images = image.expand(3, 1, 3, 3)
    offset = torch.tensor([[1, 1], [0, 2], [2, 1]])
    flipped = torch.tensor([False, False, True])
    cropped = pad_crop_flip(images, offset, flipped, pad=1)
    assert cropped[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert cropped[1, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]  # up by one, right by one
    assert cropped[2, 0].tolist() == [[6, 5, 4], [9, 8, 7], [0, 0, 0]]  # mirrored, then down by one


def test_hand_computed_reflection():
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    cropped = pad_crop_flip(image, torch.tensor([[0, 1]]), None, pad=1, pad_mode="reflect")
    assert cropped[0, 0].tolist() == [[4, 5, 6], [1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("pad", [1, 2, 4])
@pytest.mark.parametrize("pad_mode", ["zeros", "reflect"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equals_a_loop_over_torchvision(counting_images, pad, pad_mode, dtype):
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    images = counting_images.to(dtype)
    generator = torch.Generator().manual_seed(pad)
    offset = torch.randint(0, 2 * pad + 1, (6, 2), generator=generator)
    flipped = torch.rand(6, generator=generator) < 0.5
    mode = {"zeros": "constant", "reflect": "reflect"}[pad_mode]
    expected = []
    for image, (top, left), mirror in zip(images, offset.tolist(), flipped.tolist(), strict=True):
        turned = v2.horizontal_flip(image) if mirror else image
        padded = v2.pad(turned.float(), [pad], padding_mode=mode).to(dtype)
        expected.append(v2.crop(padded, top, left, 5, 5))
    before = images.clone()
    assert torch.equal(pad_crop_flip(images, offset, flipped, pad=pad, pad_mode=pad_mode), torch.stack(expected))
    assert torch.equal(images, before)


def test_images_that_are_not_square_or_not_contiguous():
    images = torch.arange(48, dtype=torch.uint8).view(1, 4, 6, 2).permute(0, 3, 1, 2)
    middle = pad_crop_flip(images, torch.tensor([[2, 2]]), torch.tensor([False]), pad=2)
    assert torch.equal(middle, images)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resized_crop_equals_torchvision(interpolation):
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    from torchvision.transforms import InterpolationMode

    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0, 0, 16, 16], [3, 5, 10, 12], [0, 12, 4, 16], [15, 0, 16, 9]])
    mode = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}[interpolation]
    expected = [
        v2.resized_crop(image.float(), y0, x0, y1 - y0, x1 - x0, [16, 16], mode, antialias=True)
        for image, (y0, x0, y1, x1) in zip(images, boxes.tolist(), strict=True)
    ]
    torch.testing.assert_close(
        resized_crop(images, boxes, interpolation=interpolation), torch.stack(expected), atol=1e-3, rtol=0
    )


def test_boxes_keep_area_ratio_and_image():
    boxes = draw_boxes(2000, height=60, width=80, area=(0.3, 0.6), generator=torch.Generator().manual_seed(0))
    y0, x0, y1, x1 = boxes.unbind(1)
    assert bool(((y0 >= 0) & (x0 >= 0) & (y1 <= 60) & (x1 <= 80)).all())
    height, width = (y1 - y0).double(), (x1 - x0).double()
    area, ratio = height * width / 4800, width / height
    assert 0.28 < area.min() < 0.32
    assert 0.58 < area.max() < 0.62
    assert ratio.min() > 0.72
    assert ratio.max() < 1.38
    assert area.mean() == pytest.approx(0.45, abs=0.01)
    assert ratio.log().mean() == pytest.approx(0, abs=0.01)
    assert y0.max() > 20
    assert x0.max() > 30


def test_a_box_that_never_fits_is_the_largest_in_the_centre():
    boxes = draw_boxes(3, height=10, width=100, area=(0.99, 1.0), generator=torch.Generator().manual_seed(0))
    assert boxes.tolist() == [[0, 43, 10, 56]] * 3


@pytest.mark.parametrize(("height", "width"), [(60, 80), (375, 500), (10, 100), (100, 10), (1, 1)])
@pytest.mark.parametrize("area", [(0.08, 1.0), (0.9, 1.0), (0.25, 0.25)])
def test_one_box_is_what_many_are(height, width, area):
    for seed in range(100):
        one, many = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        box = draw_box(height, width, area=area, generator=one)
        assert draw_boxes(1, height=height, width=width, area=area, generator=many).tolist() == [list(box)]
        assert torch.equal(one.get_state(), many.get_state())


def test_reflection_needs_a_larger_image():
    with pytest.raises(ValueError, match="reflection needs pad < the side of the images, got pad 3 for 3x3"):
        pad_crop_flip(torch.zeros(1, 1, 3, 3), torch.tensor([[0, 0]]), None, pad=3, pad_mode="reflect")


def test_windows_of_any_shape(counting_images):
    offset = torch.tensor([[0, 0], [2, 1], [1, 2], [2, 2], [0, 2], [1, 0]])
    cut = cut_windows(counting_images, offset, height=3, width=3)
    for image, window, (top, left) in zip(counting_images, cut, offset.tolist(), strict=True):
        assert torch.equal(window, image[:, top : top + 3, left : left + 3])
    tall = cut_windows(counting_images[:, :, :, :4], offset % 2, height=4, width=2)
    assert torch.equal(tall[1], counting_images[1, :, 0:4, 1:3])
