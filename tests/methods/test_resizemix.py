import pytest
import torch
from torch.nn import functional as F

from alignmixup import ResizeMix
from alignmixup.methods.resizemix import resized_into


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_the_whole_partner_stands_in_the_box_and_labels_equal_its_area(lam_per):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(6, 3, 24, 17, generator=generator), torch.arange(6)
    mixer = ResizeMix(num_classes=6, lam_per=lam_per, generator=generator)
    for _ in range(10):
        batch = mixer(x, y)
        perm = batch.draw.perm.tolist()
        for number, (y0, x0, y1, x1) in enumerate(batch.draw.box.tolist()):
            small = F.interpolate(x[perm[number]][None], (y1 - y0, x1 - x0), mode="bilinear")[0]
            torch.testing.assert_close(batch.x[number, :, y0:y1, x0:x1], small, rtol=1e-4, atol=1e-4)
            outside = torch.ones(24, 17, dtype=torch.bool)
            outside[y0:y1, x0:x1] = False
            assert torch.equal(batch.x[number][:, outside], x[number][:, outside])
            share = float(outside.float().mean())
            assert float(batch.lam[number]) == pytest.approx(share, abs=1e-6)
            if perm[number] != number:
                assert float(batch.target[number, number]) == pytest.approx(share, abs=1e-6)


def test_sides_are_uniform_between_their_limits_and_boxes_lie_anywhere_inside():
    x, y = torch.zeros(2000, 1, 100, 200), torch.zeros(2000, dtype=torch.int64)
    box = ResizeMix(num_classes=2, lam_per="sample", generator=torch.Generator().manual_seed(0))(x, y).draw.box
    low, side = box[:, :2].double(), (box[:, 2:] - box[:, :2]).double()
    assert (box >= 0).all()
    assert (box[:, 2:] <= torch.tensor([100, 200])).all()
    assert 10 <= side[:, 0].min() <= 12
    assert 78 <= side[:, 0].max() <= 80
    assert float(side[:, 0].mean()) == pytest.approx(44.5, abs=1.5)
    assert float((low / (torch.tensor([100, 200]) - side)).mean()) == pytest.approx(0.5, abs=0.03)


def test_boxes_are_shared_as_lambda_is():
    x, y = torch.rand(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    boxes = {per: ResizeMix(num_classes=2, lam_per=per, seed=0)(x, y).draw for per in ("batch", "pair", "sample")}
    assert len(boxes["batch"].box.unique(dim=0)) == 1
    assert len(boxes["sample"].box.unique(dim=0)) > 4
    pair = boxes["pair"]
    assert torch.equal(pair.box, pair.box[pair.perm])


def test_a_box_of_the_whole_image_is_the_image():
    x = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(resized_into(x, torch.tensor([[0, 0, 5, 7]] * 2)), x, rtol=1e-4, atol=1e-4)


def test_limits_are_in_order():
    with pytest.raises(ValueError, match=r"least_side must be <= largest_side, got 0\.5 and 0\.3"):
        ResizeMix(num_classes=2, least_side=0.5, largest_side=0.3)
