"""Labels by what is visible, of every method that pastes a region."""

import pytest
import torch
from tests.networks import NEEDED, fitting
from torch import nn

from alignmixup import CutMix, Switch, methods
from alignmixup.methods.base import RegionMixer
from alignmixup.methods.cutmix import CutMixDraw

REGIONS = [name for name in methods.available() if issubclass(methods.load(name), RegionMixer)]


def build(name, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6))
    net(torch.zeros(1, 3, 24, 17))
    known = {"num_classes": 6, "mean": (0.5,), "std": (0.25,), "seed": 0}
    options = {"labels": "visible", **NEEDED.get(name, {}), **options}
    return methods.build(name, model=fitting(name, net), **known, options=options)


def batch():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(6, 3, 24, 17, generator=generator), torch.arange(6)
    return x, y, (torch.rand(6, 24, 17, generator=generator) > 0.7)


def test_every_region_method_is_found():
    assert {"cutmix", "resizemix", "saliencymix", "fmix", "gridmix", "smoothmix", "attentivemix"} <= set(REGIONS)


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
@pytest.mark.parametrize("name", REGIONS)
def test_labels_are_the_shares_of_visible_object_pixels(name, lam_per):
    """Objects painted into images that are black otherwise are counted in the mixed images."""
    mixer, (_, y, masks) = build(name, lam_per=lam_per), batch()
    for number in range(4):
        # what one image shows of itself, and what its partner shows in it
        objects = masks.float()[:, None].expand(-1, 3, -1, -1)
        mixed = mixer(objects, y, masks=masks if number % 2 else masks[:, None])
        total = mixed.x[:, 0].double().sum((1, 2))
        own = (objects[:, 0] * mixed.mask()).double().sum((1, 2))
        torch.testing.assert_close(mixed.lam.double(), own / total, rtol=1e-4, atol=1e-4)
        one_hot = nn.functional.one_hot(y, 6).float()
        expected = mixed.lam[:, None] * one_hot + (1 - mixed.lam[:, None]) * one_hot[mixed.perm]
        torch.testing.assert_close(mixed.target, expected)


@pytest.mark.parametrize("name", REGIONS)
def test_masks_of_everything_weigh_by_area(name):
    x, y, _ = batch()
    visible = build(name)(x, y, masks=torch.ones(6, 24, 17))
    by_area = build(name, labels="area")(x, y)
    torch.testing.assert_close(visible.target, by_area.target, rtol=1e-4, atol=1e-4)
    assert torch.equal(visible.x, by_area.x)


def test_by_hand():
    """A box over the left half: the first image's object is right of it, the second's half inside."""
    mixer = CutMix(num_classes=2, labels="visible")
    masks = torch.zeros(2, 4, 4)
    masks[0, :2, 2:] = 1  # 4 pixels, all outside the box
    masks[1, 0] = 1  # 4 pixels, two inside the box
    draw = CutMixDraw(lam=torch.full((2,), 0.5), perm=torch.tensor([1, 0]), box=torch.tensor([[0, 0, 4, 2]] * 2))
    mixed = mixer.mix(torch.rand(2, 1, 4, 4), torch.eye(2), draw, masks=masks)
    torch.testing.assert_close(mixed.lam, torch.tensor([4 / 6, 1.0]))
    torch.testing.assert_close(mixed.target, torch.tensor([[4 / 6, 2 / 6], [0.0, 1.0]]))


def test_the_area_holds_where_nothing_is_known_or_seen():
    mixer = CutMix(num_classes=3, labels="visible")
    masks = torch.zeros(3, 4, 4)
    masks[0, 0, 0] = masks[1, 0, 3] = 1  # the third image has none
    box = torch.tensor([[0, 0, 4, 2], [0, 2, 4, 4], [0, 0, 4, 1]])
    draw = CutMixDraw(lam=torch.tensor([0.5, 0.5, 0.75]), perm=torch.tensor([1, 2, 0]), box=box)
    mixed = mixer.mix(torch.rand(3, 1, 4, 4), torch.eye(3), draw, masks=masks)
    torch.testing.assert_close(mixed.lam, torch.tensor([0.5, 0.5, 0.75]))


def test_what_masks_must_be():
    x, y, masks = batch()
    mixer = CutMix(num_classes=6, labels="visible")
    with pytest.raises(ValueError, match=r"labels='visible' of CutMix needs to know where the objects are"):
        mixer(x, y)
    with pytest.raises(ValueError, match=r"masks must be .*, got \(6, 17, 24\)"):
        mixer(x, y, masks=masks.mT)
    with pytest.raises(TypeError, match=r"bool or in \[0, 1\], got torch.uint8: compare them, as masks > 0"):
        mixer(x, y, masks=masks.byte())
    with pytest.raises(ValueError, match=r"in \[0, 1\], got values from 0.0 to 255.0"):
        mixer(x, y, masks=masks.float() * 255)
    with pytest.raises(ValueError, match=r"nan"):
        mixer(x, y, masks=masks.float() / 0)
    with pytest.raises(TypeError, match=r"masks must be a tensor .*, got list"):
        mixer(x, y, masks=[1])
    assert not methods.build("baseline", num_classes=6)(x, y, masks=masks).mixed


def test_a_switch_hands_masks_to_those_that_want_them():
    x, y, masks = batch()
    switch = Switch(mixers=["mixup", {"name": "cutmix", "labels": "visible"}], num_classes=6, seed=0)
    with pytest.raises(ValueError, match="needs to know where the objects are"):
        switch(x, y)
    drawn = [switch(x, y, masks=masks) for _ in range(12)]
    assert {batch.draw.index for batch in drawn} == {0, 1}
    for mixed in drawn:
        by_draw = torch.equal(mixed.lam, mixed.draw.lam)
        assert by_draw == (mixed.draw.index == 0)
