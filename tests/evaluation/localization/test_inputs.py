"""What is refused, and that the message names the image."""

import numpy as np
import pytest
import torch

from alignmixup.evaluation.localization.inputs import read_boxes, read_levels

GOOD = [[[1, 2, 5, 6]], [[0, 0, 9, 19], [3, 3, 3, 3]]]
SIZES = [[10, 20], [10, 20]]


def test_boxes_come_as_they_are():
    for boxes in (GOOD, [np.array(own, dtype=np.int16) for own in GOOD], [torch.tensor(own) for own in GOOD]):
        read, sizes = read_boxes(boxes, np.array(SIZES))
        assert [own.tolist() for own in read] == GOOD
        assert sizes.tolist() == SIZES
        assert all(own.dtype == torch.int64 for own in read)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([[5, 2, 1, 6]], r"image 1: box \(5, 2, 1, 6\) is inverted"),
        ([[1, 6, 5, 2]], r"image 1: box \(1, 6, 5, 2\) is inverted"),
        ([[0, 0, 1, 1], [-1, 2, 5, 6]], r"image 1: box \(-1, 2, 5, 6\) has negative corners"),
        ([[1, 2, 11, 6]], r"image 1: box \(1, 2, 11, 6\) is not inside its image; the image has 10x20 pixels"),
        ([[1, 20, 5, 20]], "is not inside its image"),
        ([], r"image 1: boxes must be \(k, 4\)"),
        (np.zeros((0, 4), dtype=int), r"image 1: boxes must be \(k, 4\) with k >= 1"),
        ([1, 2, 5, 6], r"image 1: boxes must be \(k, 4\) with k >= 1, got shape \(4,\)"),
        ([[1.0, 2.0, 5.0, 6.0]], "image 1: boxes must be whole numbers"),
        ([[1, 2, 3, 4], [1]], "image 1: boxes must be a table of whole numbers"),
    ],
)
def test_bad_boxes(second, message):
    with pytest.raises(ValueError, match=message):
        read_boxes([GOOD[0], second], SIZES)


def test_bad_sizes():
    with pytest.raises(ValueError, match="there are boxes of 1 images and sizes of 2"):
        read_boxes(GOOD[:1], SIZES)
    with pytest.raises(ValueError, match=r"image_sizes must be \(N, 2\)"):
        read_boxes(GOOD, [10, 20])
    with pytest.raises(ValueError, match=r"image_sizes must be \(N, 2\), width and height >= 1"):
        read_boxes(GOOD, [[10, 0], [10, 20]])
    with pytest.raises(ValueError, match="image_sizes must be whole numbers"):
        read_boxes(GOOD, torch.tensor(SIZES).double())


def test_levels_are_truncated():
    maps = torch.tensor([[[0.0, 0.9999, 1.0, 254.999 / 255, 0.5]]], dtype=torch.float64)
    (levels,) = read_levels(maps)
    assert levels.tolist() == [[[0, 254, 255, 254, 127]]]
    assert levels.dtype == torch.uint8


def test_maps_come_in_any_form():
    maps = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    expected = torch.cat(list(read_levels(maps)))
    for form in (list(maps), iter(maps), [maps[:2], maps[2]], torch.from_numpy(maps), (m for m in maps)):
        assert torch.equal(torch.cat(list(read_levels(form))), expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0001, r"score maps must lie in \[0, 1\], that of image 2 holds 1.0001"),
        (-1e-9, "image 2 holds -1e-09"),
        (float("nan"), "image 2 holds nan"),
        (float("inf"), "image 2 holds inf"),
    ],
)
def test_values_outside_the_range(value, message):
    maps = torch.full((4, 3, 3), 0.5, dtype=torch.float64)
    maps[2, 1, 1] = value
    with pytest.raises(ValueError, match=message):
        list(read_levels(maps))
    with pytest.raises(ValueError, match=message):
        list(read_levels(iter(maps)))


def test_bad_shapes_and_types():
    for maps in (torch.rand(3, 3), torch.rand(2, 3, 3, 3), torch.rand(2, 0, 3), torch.ones(2, 3, 3, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="score maps must be float32 or float64"):
            list(read_levels(maps))
    with pytest.raises(ValueError, match=r"image 1: a score map of \(3, 4\) after one of \(3, 3\)"):
        list(read_levels([torch.rand(3, 3), torch.rand(3, 4)]))
    with pytest.raises(ValueError, match="must be a tensor, an array or an iterable"):
        list(read_levels(None))
