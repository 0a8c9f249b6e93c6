"""What is done to pixels: normalised, enlarged and resized, coloured; and what memory holds of them."""

import importlib

import pytest
import torch

from alignmixup.data.mean_std import PRESETS, mean_std
from alignmixup.data.memory import check_memory
from alignmixup.data.transforms.color import color_jitter, lighting
from alignmixup.data.transforms.resize import enlarge, resize


def test_published_values():
    assert mean_std("cifar10", channels=3) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    mean, std = mean_std("cifar100", channels=3)
    assert [255 * value for value in mean] == pytest.approx([129.3, 124.1, 112.4])
    assert [255 * value for value in std] == pytest.approx([68.2, 65.4, 70.4])
    assert mean_std("half", channels=2) == ((0.5, 0.5), (0.5, 0.5))


def test_every_preset_has_one_deviation_per_mean():
    assert all(len(mean) == len(std) and min(std) > 0 for mean, std in PRESETS.values())


def test_errors():
    with pytest.raises(ValueError, match=r"unknown normalization 'cifar'; did you mean cifar"):
        mean_std("cifar", channels=3)
    for units_of_bytes in ("123.7/0.2", "0/255", "0.5,0.5,0.4/58.4,57.1,57.4"):
        with pytest.raises(ValueError, match=r"in units of pixels in \[0, 1\], so none above 1"):
            mean_std(units_of_bytes, channels=3)
    with pytest.raises(ValueError, match=r"'imagenet' is for 3 channels and the images have 1; .*half"):
        mean_std("imagenet", channels=1)


def test_enlarge_by_hand():
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert enlarge(image, 2).tolist() == image.tolist()
    assert enlarge(image, 3)[0, 0].tolist() == [[1, 2, 0], [3, 4, 0], [0, 0, 0]]
    twice = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert enlarge(image, 4)[0, 0].tolist() == twice


def test_enlarge_refuses_to_shrink():
    with pytest.raises(ValueError, match="image_size must be >= 8, the size of the images, got 4"):
        enlarge(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 4)


@pytest.mark.parametrize("size", [4, 12])
def test_resize_equals_torchvision(size):
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = v2.resize(images, [size, size], antialias=True)
    assert (resize(images, size).int() - expected.int()).abs().max() <= 1
    assert resize(images, 8) is images


X = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.1, 0.5]).view(1, 3, 1, 2)  # red .2 .4, green .6 .8, blue .1 .5


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_each_step_by_hand(kind):
    amount = torch.zeros(1, 3)
    amount[0, kind] = 0.25
    grey = 0.299 * X[:, 0] + 0.587 * X[:, 1] + 0.114 * X[:, 2]
    target = [torch.zeros(1), grey.mean(), grey][kind]
    expected = X + 0.25 * (target - X)
    torch.testing.assert_close(color_jitter(X, amount, torch.tensor([[0, 1, 2]])), expected)


def test_order_is_that_of_each_image():
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    amount = torch.tensor([[0.3, -0.2, 0.4], [0.3, -0.2, 0.4]])
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    together = color_jitter(x, amount, order)
    for i, steps in enumerate(order.tolist()):
        alone = x[i : i + 1]
        for kind in steps:
            single = torch.zeros(1, 3)
            single[0, kind] = amount[i, kind]
            alone = color_jitter(alone, single, torch.tensor([[0, 1, 2]]))
        torch.testing.assert_close(together[i : i + 1], alone)


def test_no_amount_changes_nothing():
    torch.testing.assert_close(color_jitter(X, torch.zeros(1, 3), torch.tensor([[1, 0, 2]])), X)


def test_lighting_by_hand():
    noise = torch.tensor([[0.1, 0.0, -0.2]])
    first, third = 0.1 * 0.2175, -0.2 * 0.0045
    shift = [
        -0.5675 * first + 0.4009 * third,
        -0.5808 * first - 0.8140 * third,
        -0.5836 * first + 0.4203 * third,
    ]
    torch.testing.assert_close(lighting(X, noise), X + torch.tensor(shift).view(1, 3, 1, 1))


def test_small_images_pass_and_huge_ones_are_refused():
    check_memory(100, 3, 224, bytes_each=4)
    with pytest.raises(
        ValueError, match=r"2 images of 3x10000000x10000000 need [\d,]+ GiB.*choose a smaller image_size"
    ):
        check_memory(2, 3, 10_000_000)
