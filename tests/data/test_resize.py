import importlib

import pytest
import torch

from alignmixup.data.resize import enlarge, resize


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
