import pytest
import torch

from alignmixup import CutMix


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
