import pytest
import torch

from alignmixup.data.transforms.augment import PRESETS, Augment, preset


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_offsets_and_flips_are_uniform():
    draw = preset("crop2_flip").draw(5000, image_size=32, generator=generator())
    assert draw.offset is not None
    assert draw.flipped is not None
    counts = torch.bincount(draw.offset.flatten())
    assert len(counts) == 5
    assert counts.min() > 1800
    assert draw.flipped.float().mean() == pytest.approx(0.5, abs=0.03)
    assert draw.box is draw.jitter is draw.lighting is None


def test_jitter_and_lighting_have_the_published_laws():
    draw = preset("resized_crop_flip_color").draw(4000, image_size=32, generator=generator())
    assert draw.jitter is not None
    assert draw.jitter_order is not None
    assert draw.lighting is not None
    assert draw.jitter.abs().max() <= 0.4
    assert draw.jitter.abs().mean() == pytest.approx(0.2, abs=0.01)
    assert draw.lighting.std() == pytest.approx(0.1, abs=0.005)
    assert torch.equal(draw.jitter_order.sort(1).values, torch.arange(3).expand(4000, 3))
    assert torch.bincount(draw.jitter_order[:, 0]).min() > 1200


def test_the_same_draw_gives_the_same_batch_and_nothing_is_changed_in_place(counting_images):
    for augment in PRESETS.values():
        images = counting_images[:, :1].repeat(1, 3, 2, 2)
        before = images.clone()
        draw = augment.draw(6, image_size=10, generator=generator())
        assert torch.equal(augment.apply(images, draw), augment.apply(images, draw))
        assert torch.equal(images, before)


def test_apply_treats_each_image_by_itself(counting_images):
    augment = Augment(pad=2, flip=True, resized_crop=(0.2, 1.0))
    draw = augment.draw(6, image_size=5, generator=generator())
    together = augment.apply(counting_images, draw)
    index = torch.tensor([4, 1])
    torch.testing.assert_close(augment.apply(counting_images[index], draw.select(index)), together[index])


def test_none_returns_the_bytes(counting_images):
    augment = preset("none")
    draw = augment.draw(6, image_size=5, generator=generator())
    assert torch.equal(augment.apply(counting_images, draw), counting_images)


def test_color_stays_in_units_of_bytes():
    images = torch.full((2, 3, 4, 4), 200, dtype=torch.uint8)
    augment = Augment(jitter=0.4, lighting=0.1)
    x = augment.apply(images, augment.draw(2, image_size=4, generator=generator()))
    assert x.dtype == torch.float32
    assert 60 < x.mean() < 340


def test_global_generator_is_left_alone():
    state = torch.get_rng_state()
    for augment in PRESETS.values():
        augment.draw(4, image_size=8, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad": -1}, "pad must be an integer >= 0, got -1"),
        ({"pad_mode": "edge"}, "pad_mode must be"),
        ({"interpolation": "nearest"}, "interpolation must be"),
        ({"resized_crop": (0.5, 0.1)}, "0 < low <= high <= 1"),
        ({"jitter": 2.0}, "jitter must lie in"),
        ({"lighting": -0.1}, "lighting be >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_unknown_preset_lists_a_near_name():
    with pytest.raises(ValueError, match=r"unknown augmentation 'crop4flip'; did you mean crop4_flip"):
        preset("crop4flip")


def test_windows_of_a_squeezed_image_are_uniform():
    augment = preset("squeezed_crop_flip")
    assert [augment.enlarged(side) for side in (224, 112, 64)] == [256, 128, 73]
    draw = augment.draw(9000, image_size=224, generator=generator())
    assert draw.offset is not None
    assert draw.flipped is not None
    counts = torch.bincount(draw.offset.flatten())
    assert len(counts) == 33
    assert counts.min() > 430
    assert preset("squeezed_crop").draw(2, image_size=224, generator=generator()).flipped is None


@pytest.mark.parametrize("size", [28, 31, 224])
def test_a_window_is_cut_where_it_was_drawn(size):
    augment = preset("squeezed_crop_flip")
    side = augment.enlarged(size)
    images = torch.randint(0, 256, (3, 2, side, side), dtype=torch.uint8, generator=generator())
    draw = augment.draw(3, image_size=size, generator=generator(1))
    assert draw.offset is not None
    assert draw.flipped is not None
    cut = augment.apply(images, draw)
    assert cut.dtype == torch.uint8
    for image, window, (top, left), flipped in zip(images, cut, draw.offset.tolist(), draw.flipped, strict=True):
        seen = image.flip(2) if flipped else image
        assert torch.equal(window, seen[:, top : top + size, left : left + size])


@pytest.mark.parametrize(
    "options", [{"margin": 0.9}, {"margin": 1.1, "pad": 2}, {"margin": 1.1, "resized_crop": (0.5, 1)}]
)
def test_a_margin_stands_alone(options):
    with pytest.raises(ValueError, match="margin must be >= 1, and 1 beside pad or resized_crop"):
        Augment(**options)
