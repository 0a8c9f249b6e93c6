"""The auction: the published plans, a plain version of the same rounds, and what a plan must keep to."""

import pytest
import torch

from alignmixup.functional import puzzlemix_transport
from alignmixup.functional.puzzlemix import auction
from alignmixup.functional.puzzlemix.energy import block_shares


def plain_auction(mask, share, cost_weight):
    """The rounds as they are described, on the whole cost matrix."""
    batch, side, _ = mask.shape
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()
    distance = (places[:, None] - places).square().sum(-1) / max(side - 1, 1) ** 2
    cost = cost_weight * distance - share.view(batch, -1, 1).double() * (mask.view(batch, 1, -1) > 0)
    for _ in range(side):
        target = cost.argmin(dim=2, keepdim=True)
        bid = torch.zeros_like(cost).scatter(2, target, cost.gather(2, target))  # 0 where no bid is
        kept = bid.argmin(dim=1, keepdim=True)
        won = torch.zeros_like(cost).scatter(1, kept, 1.0) * torch.zeros_like(cost).scatter(2, target, 1.0)
        cost = cost + torch.zeros_like(cost).scatter(2, target, 1.0) * (1 - won)
    return torch.where(won.sum(1) > 0, won.argmax(1), -1)


def random_case(blocks, batch=12, seed=0, labels=3):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(labels, (batch, blocks, blocks), generator=generator).float() / (labels - 1)
    saliency = torch.rand(batch, 2 * blocks, 2 * blocks, generator=generator) ** 4
    return mask, block_shares(saliency, blocks)


@pytest.mark.parametrize(
    "name",
    [
        "puzzlemix_s32_b2_n3_blob_9",
        "puzzlemix_s32_b4_n2_blob_5",
        "puzzlemix_s32_b8_n4_grad_7",
        "puzzlemix_s32_b16_n4_blob_10",
    ],
)
def test_plans_are_the_published_ones(golden, name):
    arrays = {key: torch.from_numpy(golden(name)[key]) for key in ("t_mask", "t_unary", "plan", "saliency", "t_eps")}
    for image in range(2):
        moves = arrays["plan"][image].float()
        expected = torch.where(moves.sum(1) > 0, moves.argmax(1), -1)
        mask, share = arrays["t_mask"][image], arrays["t_unary"][image]
        assert torch.equal(puzzlemix_transport(mask, share, cost_weight=float(arrays["t_eps"])), expected)
        if image == 0:
            pooled = puzzlemix_transport(mask, arrays["saliency"], cost_weight=float(arrays["t_eps"]))
            assert torch.equal(pooled, expected)


@pytest.mark.parametrize("cost_weight", [0.0, 0.05, 0.8])
@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 8, 16])
def test_it_equals_the_plain_rounds(blocks, cost_weight):
    mask, share = random_case(blocks)
    found = puzzlemix_transport(mask, share, cost_weight=cost_weight)
    assert torch.equal(found, plain_auction(mask, share, cost_weight))


def test_it_equals_the_plain_rounds_where_one_block_has_all_saliency():
    """There a price that has risen by 1 can be the least again."""
    mask = torch.ones(2, 2, 2)
    mask[0, 1, 1] = 0
    share = torch.tensor([[[0.97, 0.01], [0.01, 0.01]], [[0.25, 0.25], [0.25, 0.25]]])
    assert torch.equal(puzzlemix_transport(mask, share), plain_auction(mask, share, 0.8))


@pytest.mark.parametrize("factor", [1e-6, 0.5, 40.0])
def test_saliency_of_any_scale_gives_the_plan_of_its_shares(factor):
    """Of blocks too: as they came, the small ones would move nothing, and the large ones at any distance."""
    mask, share = random_case(4)
    expected = puzzlemix_transport(mask, share)
    assert (expected != torch.arange(16)).any()
    assert torch.equal(puzzlemix_transport(mask, factor * share), expected)
    pixels = (factor * share).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(puzzlemix_transport(mask, pixels), expected)


@pytest.mark.parametrize("without", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("blocks", [2, 4, 8, 16])
def test_visible_places_are_filled_and_no_block_is_used_twice(blocks, without):
    """Also where a share of the blocks has no saliency at all, as gradients have that underflow."""
    mask, share = random_case(blocks, batch=40, seed=2)
    share = share * (torch.rand(share.shape, generator=torch.Generator().manual_seed(4)) >= without)
    plan = puzzlemix_transport(mask, share)
    assert bool((plan >= 0)[mask.flatten(1) > 0].all())
    for row in plan:
        used = row[row >= 0]
        assert len(used) == len(used.unique())
    # hidden places stay empty, but for block 0 at home
    empty = (plan < 0)[mask.flatten(1) == 0].float().mean()
    assert empty > 1 - 1 / blocks**2 - 0.2


def test_more_saliency_comes_into_view():
    mask, share = random_case(8, batch=40, seed=3, labels=2)
    plan = puzzlemix_transport(mask, share)
    moved = share.flatten(1).gather(1, plan.clamp(min=0)) * (plan >= 0)
    kept, before = (moved * mask.flatten(1)).sum(1), (share * mask).sum((1, 2))
    assert bool((kept >= before - 1e-6).all())
    assert kept.mean() > 1.2 * before.mean()


def test_a_mask_that_shows_everything_moves_nothing():
    _, share = random_case(8)
    plan = puzzlemix_transport(torch.ones(12, 8, 8), share)
    assert torch.equal(plan, torch.arange(64).expand(12, -1))


def test_the_parts_in_which_a_batch_is_worked_through_do_not_show(monkeypatch):
    mask, share = random_case(4)
    whole = puzzlemix_transport(mask, share)
    monkeypatch.setattr(auction, "_CPU_ENTRIES", 5 * 4**4)
    assert torch.equal(puzzlemix_transport(mask, share), whole)
    assert puzzlemix_transport(mask[:0], share[:0]).shape == (0, 16)


def test_errors():
    with pytest.raises(ValueError, match=r"mask must have shape \(B, n, n\)"):
        puzzlemix_transport(torch.ones(2, 4), torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match="do not divide into 3 x 3 whole blocks"):
        puzzlemix_transport(torch.ones(2, 3, 3), torch.ones(2, 8, 8))
