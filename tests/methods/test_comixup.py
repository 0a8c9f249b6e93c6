import pytest
import torch
from torch import nn

from alignmixup import CoMixup
from alignmixup.functional import comixup_compose, comixup_masks
from alignmixup.functional.comixup.images import block_means, peak_distances
from alignmixup.methods import comixup
from alignmixup.methods.base.gradients import input_saliency

CLASSES = 6


def network(channels=3):
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(24, CLASSES))


def images(batch, size=16, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, size, size, generator=generator)
    return x, torch.randint(CLASSES, (batch,), generator=generator)


def mixer(model=None, seed=0, **options):
    model = network() if model is None else model
    generator = torch.Generator().manual_seed(seed)
    return CoMixup(model, num_classes=CLASSES, generator=generator, **{"group": 5, **options})


@pytest.fixture
def masks_seen(monkeypatch):
    """Masks of every group, as the method found them."""
    seen = []

    def recorded(*arguments, **options):
        seen.append(comixup_masks(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(comixup, "comixup_masks", recorded)
    return seen


def test_the_steps_are_those_of_the_paper():
    model = network()
    x, y = images(5)
    mixed = mixer(model, tries=1)(x, y)
    target = nn.functional.one_hot(y, CLASSES).float()
    saliency, _ = input_saliency(model, x, target, train_statistics=True, clean_weight=1.0)
    masks = comixup_masks(
        block_means(saliency, 4),
        peak_distances(saliency[None])[0],
        prior=mixed.draw.prior,
        start=mixed.draw.start[0],
    )
    assert torch.equal(mixed.x, comixup_compose(x, masks[None]))
    torch.testing.assert_close(mixed.target, masks.mean((1, 2)) @ target)


@pytest.mark.parametrize(("batch", "groups"), [(1, [1]), (2, [2]), (5, [5]), (7, [5, 2]), (11, [10, 1]), (15, [15])])
def test_labels_are_areas_within_groups(masks_seen, batch, groups):
    # images that hold their own number: what stands where can be read off
    numbers = torch.arange(float(batch))
    x = numbers[:, None, None, None].expand(batch, 3, 16, 16)
    one_hot = torch.eye(batch)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, batch))
    mixed = CoMixup(model, group=5, generator=generator)(x, one_hot)
    assert [masks.shape[0] * masks.shape[1] for masks in masks_seen] == groups
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(batch))
    torch.testing.assert_close(mixed.x.mean((1, 2, 3)), mixed.target @ numbers)
    own = numbers // 5
    assert not bool((mixed.target * (own[:, None] != own)).any())


def test_it_mixes():
    mixed = mixer()(*images(15))
    parents = (mixed.target > 0).sum(1)
    assert not torch.equal(mixed.x, images(15)[0])
    assert int(parents.max()) > 1


def test_a_draw_is_all_the_randomness():
    mix = mixer()
    x, y = images(7)
    mixed = mix(x, y)
    again = mixer(seed=9).mix(x, mixed.clean_target, mixed.draw)
    assert torch.equal(mixed.x, again.x)
    assert torch.equal(mixed.target, again.target)
    torch.testing.assert_close(mixed.draw.prior[:5].sum(), torch.tensor(1.0))
    torch.testing.assert_close(mixed.draw.prior[5:].sum(), torch.tensor(1.0))
    assert mixed.draw.start.shape == (2, 7, 4, 4)
    assert int(mixed.draw.start[:, 5:].max()) == 1
    assert not hasattr(mixed.draw, "lam")  # groups have no λ; the batch says how much of its own each sample shows
    mask = mixed.mask()  # (7, n, n, 5): the second group has inputs 0 and 1
    torch.testing.assert_close(mixed.lam[6], mask[6, :, :, 1].mean())


@pytest.mark.parametrize(("scale", "factor"), [("bce_softmax", 2 / CLASSES), ("cross_entropy", 1.0)])
def test_the_clean_loss_is_added(scale, factor):
    model = network()
    x, y = images(7)
    with mixer(model, clean_lam=0.5, clean_scale=scale)(x, y) as batch:
        loss = batch.loss(model(batch.x))
        loss.backward()
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    expected = nn.functional.cross_entropy(model(batch.x), batch.target)
    expected = expected + 0.5 * factor * nn.functional.cross_entropy(model(x), y)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-5)


def test_without_a_clean_loss_the_saliency_is_found_in_eval_mode(monkeypatch):
    asked = []

    def recorded(*arguments, **options):
        asked.append(options)
        return input_saliency(*arguments, **options)

    monkeypatch.setattr(comixup, "input_saliency", recorded)
    x, target = mixer(clean_lam=0.0)(*images(5))
    mixer()(*images(5))
    assert [(o["train_statistics"], o["clean_weight"]) for o in asked] == [(False, 0.0), (True, 1.0)]
    assert x.shape == (5, 3, 16, 16)
    assert target.shape == (5, CLASSES)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (64, 3), (224, 3)])
def test_image_sizes_and_channels(size, channels):
    x, y = images(3, size, channels)
    mixed = mixer(network(channels))(x, y)
    assert mixed.x.shape == x.shape
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(3))


def test_memory_format_is_kept():
    x, y = images(7)
    mixed = mixer()(x.to(memory_format=torch.channels_last), y)
    assert mixed.x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed.x, mixer()(x, y).x)


def test_a_model_without_gradients_at_the_input_is_harmless():
    # all saliency is zero, hence uniform, and all peaks coincide
    model = network()
    nn.init.zeros_(model[-1].weight)
    mixed = mixer(model)(*images(7))
    assert bool(mixed.x.isfinite().all())
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(7))


def test_there_are_no_pairs():
    mixed = mixer()(*images(5))
    assert not mixed.pairwise
    with pytest.raises(TypeError, match="mixed from more than two"):
        mixed.pair_targets()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha must be > 0"),
        ({"group": 0}, "group must be >= 1, got 0"),
        ({"blocks": 2.5}, "blocks must be a whole number, got 2.5"),
        ({"tries": 0}, "tries must be >= 1, got 0"),
        ({"omega": 2.0}, r"omega must be in \[0, 1\], got 2.0"),
        ({"gamma": -1.0}, "gamma must be >= 0, got -1.0"),
        ({"clean_lam": float("inf")}, "clean_lam must be >= 0, got inf"),
        ({"threshold": "x"}, "threshold must be 'hard' or 'soft', got 'x'"),
        ({"variant": "x"}, "variant must be 'as_described' or 'as_released', got 'x'"),
        ({"clean_scale": "x"}, "clean_scale must be 'bce_softmax' or 'cross_entropy', got 'x'"),
    ],
)
def test_options_are_checked_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        mixer(**options)


def test_the_model_is_needed():
    with pytest.raises(ValueError, match=r"pass it as CoMixup\(model, ...\)"):
        CoMixup(num_classes=3)


def test_blocks_must_divide_the_images():
    with pytest.raises(
        ValueError, match="blocks=4 does not divide images of 18 x 18 pixels; these do: 1, 2, 3, 6, 9, 18"
    ):
        mixer()(*images(5, 18))
    with pytest.raises(ValueError, match=r"images of shape \(B, C, H, W\), got \(5, 48\)"):
        mixer()(torch.rand(5, 48), torch.zeros(5, dtype=torch.int64))
