"""torchvision's augmentation policies."""

import pytest
import torch

from alignmixup import data
from alignmixup.data.transforms.augment import preset
from alignmixup.data.transforms.policies import POLICIES, apply_policy


def images(count=6, channels=3):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, 16, 16), generator=draw, dtype=torch.uint8)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_changes_by_its_own_number_alone(policy, channels):
    x, seeds = images(channels=channels), torch.arange(6)
    state = torch.get_rng_state()
    whole = apply_policy(x, seeds, policy=policy)
    assert torch.equal(torch.get_rng_state(), state)
    assert whole.dtype == torch.uint8
    parts = torch.cat([apply_policy(x[part], seeds[part], policy=policy) for part in (slice(0, 2), slice(2, 6))])
    assert torch.equal(whole, parts)
    assert (whole != x).flatten(1).any(1).sum() >= 3
    assert not torch.equal(whole, apply_policy(x, seeds + 10, policy=policy))
    assert torch.equal(whole, apply_policy(x.float() + 0.2, seeds, policy=policy))


def test_a_policy_stands_behind_any_preset_and_changes_no_other_draw():
    plain, with_policy = preset("crop4_flip"), preset("crop4_flip+trivialaugment")
    first, second = (
        augment.draw(8, image_size=16, generator=torch.Generator().manual_seed(1)) for augment in (plain, with_policy)
    )
    assert torch.equal(first.offset, second.offset)
    assert torch.equal(first.flipped, second.flipped)
    for name, message in (("crop4_flip+trivial", "did you mean trivialaugment"), ("crop9+randaugment", "crop")):
        with pytest.raises(ValueError, match=message):
            preset(name)


def test_loaders_take_the_data_sets_own_with_a_policy():
    digits = data.load("digits")
    loader, _ = data.build_loaders(digits, batch_size=50, augment="default+randaugment")
    assert loader.augment.policy == "randaugment"
    assert loader.augment.pad == preset(digits.augment).pad
    first, again = (next(iter(loader))[0] for _ in range(2))
    assert torch.equal(first, again)
    loader.set_epoch(1)
    assert not torch.equal(first, next(iter(loader))[0])
