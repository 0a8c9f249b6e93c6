from dataclasses import replace

import pytest
import torch

from alignmixup import CutMix, Mixup


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_labels_equal_the_exact_pixel_ratio(lam_per):
    # images that hold their own number: the share of foreign pixels can be counted
    x = torch.arange(6.0)[:, None, None, None].expand(6, 1, 9, 7)
    mixer = CutMix(num_classes=6, lam_per=lam_per, generator=torch.Generator().manual_seed(0))
    for _ in range(20):
        mixed = mixer(x, torch.arange(6))
        own = (mixed.x == x).flatten(1).float().mean(1)
        alone = mixed.draw.perm == torch.arange(6)
        torch.testing.assert_close(own[~alone], mixed.target.diagonal()[~alone])
        torch.testing.assert_close(mixed.draw.lam[~alone], own[~alone])


def test_boxes_are_shared_as_lambda_is():
    x, y = torch.rand(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    per_batch = CutMix(num_classes=2)(x, y).draw.box
    per_sample = CutMix(num_classes=2, lam_per="sample")(x, y).draw.box
    per_pair = CutMix(num_classes=2, lam_per="pair")(x, y).draw
    assert len(per_batch.unique(dim=0)) == 1
    assert len(per_sample.unique(dim=0)) > 4
    assert torch.equal(per_pair.box, per_pair.box[per_pair.perm])


@pytest.mark.parametrize("lam_per", ["pair", "sample"])
def test_a_box_has_a_place_of_its_own(lam_per):
    x, y = torch.rand(8, 3, 64, 64), torch.zeros(8, dtype=torch.int64)
    mixer = CutMix(num_classes=2, lam_per=lam_per, alpha=1e6, generator=torch.Generator().manual_seed(0))
    assert len(mixer(x, y).draw.box.unique(dim=0)) > 2  # λ is 1/2 for all, so that boxes differ by their place alone


def test_images_need_four_axes():
    with pytest.raises(ValueError, match=r"CutMix needs images of shape \(B, C, H, W\), got \(4, 3\)"):
        CutMix(num_classes=2)(torch.rand(4, 3), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
@pytest.mark.parametrize("method", [CutMix, Mixup])
def test_a_replayed_draw_gives_the_same_and_is_checked(method, lam_per):
    """What a mixer has just drawn is not checked again; what comes from outside is, also if it was once its own."""
    x, y = torch.rand(6, 3, 9, 8), torch.arange(6)
    mixer = method(num_classes=6, lam_per=lam_per)
    batch = mixer(x, y)
    again = mixer.mix(x, batch.clean_target, batch.draw)
    assert torch.equal(again.x, batch.x)
    assert torch.equal(again.target, batch.target)
    with pytest.raises(ValueError, match="must have shape"):
        mixer.mix(x[:4], batch.clean_target[:4], batch.draw)
    batch.draw.perm[0] = 99
    with pytest.raises(ValueError, match=r"perm must be in \[0, 6\), got 99"):
        mixer.mix(x, batch.clean_target, batch.draw)


def test_what_a_subclass_draws_is_checked():
    class Mine(Mixup):
        def draw(self, x, target):
            return replace(super().draw(x, target), lam=torch.full((len(x),), 1.5))

    with pytest.raises(ValueError, match=r"lam must be in \[0, 1\], got values from 1.5 to 1.5"):
        Mine(num_classes=6)(torch.rand(6, 3, 9, 8), torch.arange(6))
