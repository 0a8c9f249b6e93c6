"""Matched maps: the same mathematics as in training, and measures of the match."""

import math

import pytest
import torch

from alignmixup.evaluation.paths.pair_maps import Alignment, Pairs, align_pairs, correspondence, pair_maps
from alignmixup.functional import align_mix, mixup
from alignmixup.models import PreActResNet18

ALIGNMENT = Alignment(epsilon=0.5)


def maps(seed=0, shape=(3, 5, 2, 3)):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed)).unbind()


@pytest.mark.parametrize(
    "options", [{}, {"normalize_cost": True}, {"max_positions": 4}, {"max_positions": 9, "normalize_cost": True}]
)
@pytest.mark.parametrize("keep", ["first", "partner"])
def test_the_paths_are_those_of_training(keep, options):
    a, b = maps(shape=(3, 5, 5, 6))
    lam = torch.tensor([0.0, 0.3, 1.0])
    swap = torch.tensor([3, 4, 5, 0, 1, 2])
    expected = align_mix(torch.cat([a, b]), swap, torch.cat([lam, lam]), keep, epsilon=0.5, **options)[:3]
    found = align_pairs(a, b, Alignment(epsilon=0.5, **options)).mix(lam, keep)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_large_maps_are_matched_by_cells():
    a, b = maps(shape=(2, 3, 20, 30))
    found = align_pairs(a, b, Alignment())  # 600 positions, and a plan has at most 256
    assert found.size == (10, 15)
    assert found.cost.shape == found.assignment.shape == (2, 150, 150)
    torch.testing.assert_close(
        correspondence(found).distance_unaligned, (a - b).square().sum(1).mean((1, 2)), atol=1e-3, rtol=1e-3
    )
    assert align_pairs(a, b, Alignment(max_positions=None)).size == (20, 30)


def test_unaligned_is_mixup_and_the_kept_ends_are_exact():
    a, b = maps()
    pairs, lam, before = align_pairs(a, b, ALIGNMENT), torch.tensor([0.2, 0.5, 0.9]), b.clone()
    torch.testing.assert_close(
        pairs.mix(lam, "none"), mixup(torch.cat([a, b]), torch.arange(6).roll(3), torch.cat([lam, lam]))[:3]
    )
    assert torch.equal(pairs.mix(torch.ones(3), "first"), a)
    assert torch.equal(pairs.mix(torch.zeros(3), "partner"), b)
    assert torch.equal(b, before)


def test_a_rearranged_map_is_found_again():
    a, _ = maps(shape=(1, 32, 3, 3))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    b = a.flatten(2)[:, :, order].view_as(a)
    found = align_pairs(a, b, Alignment(epsilon=0.1))
    torch.testing.assert_close(found.partner_at_first, a)
    torch.testing.assert_close(found.first_at_partner, b)
    measured = correspondence(found)
    assert measured.entropy.max() < 1e-3
    assert measured.distance < 1e-3 * measured.distance_unaligned


def test_without_preference_every_match_is_open():
    measured = correspondence(align_pairs(*maps(), Alignment(epsilon=1e6)))
    torch.testing.assert_close(measured.entropy, torch.full((3, 6), math.log(6)))
    torch.testing.assert_close(measured.distance, measured.distance_any, rtol=1e-3, atol=0)


def test_entropy_and_distances_by_hand():
    a = torch.tensor([[[[0.0, 2.0]]]])
    measured = correspondence(align_pairs(a, a.flip(3), Alignment(epsilon=1e-2)))
    assert (measured.distance.item(), measured.distance_unaligned.item()) == pytest.approx((0, 4), abs=1e-5)
    assert measured.distance_any.item() == pytest.approx(2)


def test_images_run_up_to_the_layer_in_eval_mode():
    torch.manual_seed(0)
    model = PreActResNet18(4, width=2).train()
    x = torch.randn(4, 3, 16, 16)
    y = torch.zeros(2, dtype=torch.int64)
    mean = model.stem[1].running_mean.clone()
    found = pair_maps(model, "stage2", Pairs(x[:2], x[2:], y, y), ALIGNMENT)
    assert model.stage3.training
    assert torch.equal(model.stem[1].running_mean, mean)
    with torch.no_grad():
        expected = model.eval().stage2(model.stage1(model.stem(x)))
    torch.testing.assert_close(torch.cat([found.first, found.partner]), expected)


def test_bad_input():
    with pytest.raises(ValueError, match=r"must be \(n, C, h, w\) alike"):
        align_pairs(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 3), ALIGNMENT)
    with pytest.raises(ValueError, match="epsilon must be > 0, got"):
        align_pairs(*maps(), Alignment(epsilon=0))
