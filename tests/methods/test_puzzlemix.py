"""Puzzle Mix: draws, labels, the adversarial variant, the clean loss and its errors."""

import copy
from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from alignmixup import PuzzleMix
from alignmixup.functional import puzzlemix, puzzlemix_mask, puzzlemix_transport
from alignmixup.functional.puzzlemix.energy import block_shares
from alignmixup.methods.base.gradients import input_saliency


@pytest.fixture
def build(net):
    def make(**options):
        known = {"num_classes": 5, "mean": (0.5,), "std": (0.25,), "generator": torch.Generator().manual_seed(0)}
        return PuzzleMix(net, **{**known, **options})

    return make


def test_a_batch_is_what_the_functions_make(build, net, batch):
    x, y = batch
    mixer = build(transport_size=1, blocks=[4], neighbourhood=2)
    mixed = mixer(x, y)
    saliency, _ = input_saliency(net, x, F.one_hot(y, 5), train_statistics=False)
    perm, lam = mixed.draw.perm, mixed.draw.lam
    coarse = puzzlemix_mask(saliency, mixer.pixels(x), perm, lam, 4, neighbourhood=2)
    mask = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    share = block_shares(saliency, 16)
    plans = puzzlemix_transport(mask, share), puzzlemix_transport(1 - mask, share[perm])
    assert torch.equal(mixed.x, puzzlemix(x, perm, mask, plans))
    assert torch.equal(mixed.lam, coarse.mean((1, 2)))
    target = F.one_hot(y, 5).float()
    torch.testing.assert_close(mixed.target, mixed.lam[:, None] * target + (1 - mixed.lam[:, None]) * target[perm])


def test_each_batch_draws_one_of_the_sizes_that_fit(build, batch):
    mixer = build()
    drawn = Counter(mixer(*batch).draw.blocks for _ in range(80))
    assert set(drawn) == {2, 4, 8, 16}
    assert min(drawn.values()) > 8
    small = batch[0][:, :, :8, :8]
    assert {mixer.draw(small, batch[1]).blocks for _ in range(30)} == {2, 4, 8}


def test_labels_follow_the_area_of_each_sample(build, batch):
    areas = torch.stack([build(blocks=[4], lam_per="batch")(*batch).lam for _ in range(3)])
    assert bool((areas == (areas * 32).round() / 32).all())  # multiples of half a block of 16
    assert areas.std(dim=1).min() > 0


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (3, 3, 24, 40), (2, 3, 64, 64)])
def test_other_sizes(build, shape):
    mixer = build()
    for _ in range(4):
        x, target = mixer(torch.randn(shape), torch.zeros(shape[0], dtype=torch.int64))
        assert x.shape == shape
        assert bool(x.isfinite().all())
        torch.testing.assert_close(target.sum(1), torch.ones(shape[0]))


def test_without_transport_visible_pixels_stay(build, batch):
    mixed = build(transport=False, labels=2)(*batch)
    perm = mixed.draw.perm
    own, partner = (mixed.x == batch[0]).all(1), (mixed.x == batch[0][perm]).all(1)
    assert bool((own | partner).all())
    assert build(blocks=[4])(*batch).x.ne(mixed.x).any()


@pytest.mark.parametrize(("clean_lam", "scale", "factor"), [(0.6, "bce_softmax", 2 / 5), (0.6, "cross_entropy", 1.0)])
def test_the_clean_loss_adds_its_gradient(build, net, batch, clean_lam, scale, factor):
    x, y = batch
    mixer = build(clean_lam=clean_lam, clean_scale=scale)
    twin = copy.deepcopy(net)
    with mixer(x, y) as mixed:
        loss = mixed.loss(net(mixed.x))
        loss.backward()
    clean = clean_lam * factor * F.cross_entropy(twin(x), y)
    expected = F.cross_entropy(twin(mixed.x), mixed.target) + clean
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    assert build()(x, y).auxiliary is None


def test_saliency_is_taken_in_training_mode_with_a_clean_loss(build, net, batch):
    x, y = batch
    draw = build().draw(x, F.one_hot(y, 5).float())
    target = F.one_hot(y, 5).float()
    for clean_lam, train in ((0.0, False), (1.0, True)):
        saliency, _ = input_saliency(net, x, target, train_statistics=train)
        mixer = build(clean_lam=clean_lam)
        mask = puzzlemix_mask(saliency, mixer.pixels(x), draw.perm, draw.lam, draw.blocks)
        assert torch.equal(mixer.mix(x, target, draw).lam, mask.mean((1, 2)))


def test_adversarial_noise_raises_the_loss_within_its_bound(build, net, batch):
    x, y = batch
    x = x.clamp(-2, 2)  # what pixels in [0, 1] become
    mixer = build(adversarial_probability=1.0, adversarial_epsilon=0.02, transport=False, labels=2, blocks=[4])
    mixed = mixer(x, y)
    adversary, perm = mixed.draw.adversary, mixed.draw.perm
    assert adversary.first
    assert adversary.partner
    assert adversary.noise.abs().max() <= 1
    clean = mixer.mix(x, mixed.clean_target, replaced(mixed.draw, adversary, first=False, partner=False)).x
    change = (mixed.x - clean) * 0.25
    assert change.abs().max() <= 0.02 + 1e-5
    assert change.abs().max() > 0
    # where the first image is shown the loss of the first image goes up
    everything = replaced(mixed.draw, adversary, strength=1.0, first=True, partner=True, lam=torch.ones(7))
    attacked = mixer.mix(x, mixed.clean_target, everything)
    assert attacked.lam.min() == 1
    net.eval()
    assert F.cross_entropy(net(attacked.x), y) > F.cross_entropy(net(x), y)
    assert perm.shape == (7,)


def replaced(draw, adversary, *, lam=None, **changes):
    import dataclasses

    return dataclasses.replace(
        draw, lam=draw.lam if lam is None else lam, adversary=dataclasses.replace(adversary, **changes)
    )


def test_adversarial_noise_stays_in_the_image(build, batch):
    x = torch.where(batch[0] > 0, 2.0, -2.0)  # black and white
    mixer = build(adversarial_probability=1.0, adversarial_epsilon=0.3, transport=False, labels=2)
    mixed = mixer(x, batch[1])
    assert mixed.x.abs().max() <= 2 + 1e-5
    assert (mixed.x.abs() < 1.9).any()


def test_share_of_adversarial_batches(build, batch):
    mixer = build(adversarial_probability=0.3)
    target = torch.zeros(7, 5)
    draws = [mixer.draw(batch[0], target).adversary for _ in range(200)]
    share = sum(a is not None for a in draws) / 200
    assert abs(share - (1 - 0.7**2)) < 0.1
    assert {(a.first, a.partner) for a in draws if a} == {(True, False), (False, True), (True, True)}


def test_a_model_that_learned_nothing_gives_finite_masks(build, net, batch):
    torch.nn.init.zeros_(net.head.weight)
    mixed = build()(*batch)
    assert bool(mixed.x.isfinite().all())
    assert bool(mixed.target.isfinite().all())


def test_errors(build, batch):
    with pytest.raises(ValueError, match=r"pass it as PuzzleMix\(model, \.\.\.\)"):
        PuzzleMix(num_classes=5)
    with pytest.raises(ValueError, match=r"none of blocks \[7\] divides images of 16 x 16.*\[2, 4, 8, 16\]"):
        build(blocks=[7])(*batch)
    with pytest.raises(ValueError, match="transport_size 3 does not divide the mask's blocks of 4 x 4 pixels"):
        build(blocks=[4], transport_size=3)(*batch)
    with pytest.raises(ValueError, match="so it must know how the images were normalised"):
        build(mean=None, std=None)(*batch)
    with pytest.raises(ValueError, match=r"needs images of shape \(B, C, H, W\)"):
        build()(batch[0].flatten(1), batch[1])
    for option, value, message in (
        ("blocks", [], "blocks must be one or more whole numbers"),
        ("blocks", [2.5], "every element of blocks must be a whole number, got 2.5"),
        ("labels", 1, "labels must be >= 2, got 1"),
        ("transport_size", 0, "transport_size must be >= 1 or None, got 0"),
        ("beta", -1.0, "beta must be >= 0"),
        ("gamma", 1.5, r"gamma must be in \[0, 1\], got 1.5"),
        ("clean_lam", -0.1, "clean_lam must be >= 0"),
        ("clean_scale", "mse", "clean_scale must be 'bce_softmax' or 'cross_entropy', got 'mse'"),
        ("adversarial_probability", 2.0, r"adversarial_probability must be in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**{option: value})
