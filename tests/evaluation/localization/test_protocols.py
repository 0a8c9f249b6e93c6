"""Top-1 localisation, the CutMix paper's protocol and the centred Gaussian."""

import pytest
import torch

from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.protocols import (
    TOP1_CONVENTIONS,
    centred_gaussian,
    crop_boxes,
    cutmix_localization,
    tabulate_centre,
    top1_localization,
)


def two_level_maps():
    """Two images: a small block of 1 in a large one of 0.2; the box is the small one, then the large one."""
    maps = torch.zeros(2, 20, 20, dtype=torch.float64)
    maps[:, 2:17, 2:17] = 0.2
    maps[:, 5:9, 5:9] = 1
    return maps, [torch.tensor([[5, 5, 9, 9]]), torch.tensor([[2, 2, 17, 17]])], [(20, 20)] * 2


def test_conventions_by_hand():
    table = tabulate_boxes(*two_level_maps())
    # below 0.2 the second image is hit, above it the first
    only_first = top1_localization(table, torch.tensor([True, False]))
    assert only_first == {"fixed-0.15": 0, "at-gtknown-best": 0, "max-top1": 50, "fixed-0.25": 50}
    only_second = top1_localization(table, torch.tensor([False, True]))
    assert only_second == {"fixed-0.15": 50, "at-gtknown-best": 50, "max-top1": 50, "fixed-0.25": 0}
    assert tuple(only_first) == TOP1_CONVENTIONS


def test_correct_is_checked():
    table = tabulate_boxes(*two_level_maps())
    with pytest.raises(ValueError, match=r"correct must be bool of shape \(2,\), got torch.int64 of \(2,\)"):
        top1_localization(table, torch.tensor([1, 0]))
    with pytest.raises(ValueError, match=r"correct must be bool of shape \(2,\)"):
        cutmix_localization(*two_level_maps(), torch.tensor([True]))


def test_boxes_in_the_crop():
    (inside, clipped, outside) = crop_boxes(
        [torch.tensor([[50, 100, 99, 199]]), torch.tensor([[0, 0, 511, 511]]), torch.tensor([[0, 0, 5, 5]])],
        torch.tensor([[512, 512], [512, 512], [100, 100]]),
    )
    assert inside.tolist() == [[9, 34, 33, 83]]  # int(99 * 256 / 512) - 16
    assert clipped.tolist() == [[0, 0, 223, 223]]
    assert outside.shape == (0, 4)


def test_the_cutmix_paper_wants_more_than_one_half():
    maps = torch.zeros(2, 224, 224)
    maps[:, 40:50, 40:50] = 1  # its box is (40, 40, 50, 50)
    sizes = [(256, 256)] * 2
    half, more = torch.tensor([[56, 56, 66, 77]]), torch.tensor([[56, 56, 66, 76]])  # 11 x 22 and 11 x 21
    assert cutmix_localization(maps, [half, more], sizes, torch.tensor([True, True])) == 50
    assert cutmix_localization(maps, [more, more], sizes, torch.tensor([True, False])) == 50
    outside = torch.tensor([[0, 0, 5, 5]])
    assert cutmix_localization(maps, [outside, more], sizes, torch.tensor([True, True])) == 50


def test_the_centred_gaussian_is_one_map_for_all():
    generator = torch.Generator().manual_seed(0)
    boxes = [torch.randint(0, 50, (k, 2, 2), generator=generator).sort(1).values.flatten(1) for k in (1, 2, 3)]
    sizes = torch.tensor([[50, 60], [70, 50], [50, 50]])
    bell = centred_gaussian(56)
    assert bell.min() == 0
    assert bell.max() == 1
    assert torch.equal(bell, bell.flip(1))
    table, every = tabulate_centre(boxes, sizes, size=56), tabulate_boxes(bell.expand(3, -1, -1), boxes, sizes)
    for name in ("best_all", "best_largest", "largest", "counts", "peaks"):
        assert torch.equal(getattr(table, name), getattr(every, name))
    centred = count_accuracy(tabulate_centre([torch.tensor([[14, 14, 42, 42]])], [(56, 56)], size=56))
    assert centred.max_box_acc_v2 == 100
