import importlib

import pytest
import torch

from alignmixup.data.dataset import Split
from alignmixup.data.loaders import BatchLoader, Normalizer
from alignmixup.data.transforms.augment import Augment, preset

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def split(count: int = 20, *, side: int = 6) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def loader(images: Split | None = None, **options) -> BatchLoader:
    return BatchLoader(images or split(), **{"batch_size": 8, "mean": MEAN, "std": STD, **options})


def collect(batches: BatchLoader) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = list(batches)
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def test_normalisation_by_hand():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normalizer = Normalizer(MEAN, STD, device=torch.device("cpu"), channels_last=False)
    expected = torch.tensor([(0 - 0.5) / 0.2, (0.2 - 0.4) / 0.25, (1 - 0.3) / 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(normalizer(images), expected)
    as_float = images.float()
    torch.testing.assert_close(normalizer(as_float), expected)
    assert as_float.flatten().tolist() == [0, 51, 255]


def test_plain_pass_is_the_split_in_its_order():
    images = split()
    x, y = collect(loader(images))
    assert y.tolist() == list(range(20))
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(x, (images.images.float() / 255 - mean) / std)
    assert x.dtype == torch.float32


def test_lengths_and_last_batch():
    assert [len(y) for _, y in loader()] == [8, 8, 4]
    assert [len(y) for _, y in loader(drop_last=True)] == [8, 8]
    assert (len(loader()), loader().num_images) == (3, 20)
    assert (len(loader(drop_last=True)), loader(drop_last=True).num_images) == (2, 16)


def test_padding_is_black_before_normalisation():
    white = Split(torch.full((64, 3, 6, 6), 255, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64))
    x, _ = collect(loader(white, augment=preset("crop4")))
    black = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)])
    corners = x[:, :, 0, 0][x[:, 0, 0, 0] < 0]
    assert len(corners) > 5
    torch.testing.assert_close(corners, black.expand_as(corners))


def test_epochs_differ_and_repeat():
    batches = loader(shuffle=True, augment=preset("crop4_flip"), seed=3)
    first = collect(batches)
    assert all(torch.equal(a, b) for a, b in zip(first, collect(batches), strict=True))
    batches.set_epoch(1)
    second = collect(batches)
    assert not torch.equal(first[1], second[1])
    fresh = loader(shuffle=True, augment=preset("crop4_flip"), seed=3)
    fresh.set_epoch(1)
    assert all(torch.equal(a, b) for a, b in zip(second, collect(fresh), strict=True))
    assert not torch.equal(collect(loader(shuffle=True, seed=4))[1], first[1])


def test_order_does_not_depend_on_the_augmentation():
    plain, augmented = loader(shuffle=True), loader(shuffle=True, augment=preset("crop2_flip"))
    assert torch.equal(collect(plain)[1], collect(augmented)[1])


def test_skipped_batches_leave_the_others_as_they_were():
    batches = loader(shuffle=True, augment=preset("crop4_flip"))
    batches.set_epoch(2)
    whole = list(batches)
    batches.set_epoch(2, skip_batches=2)
    rest = list(batches)
    assert len(rest) == 1
    assert torch.equal(rest[0][0], whole[2][0])
    batches.set_epoch(3)
    assert len(list(batches)) == 3


@pytest.mark.parametrize("augment", ["crop4_flip", "resized_crop_flip_color"])
def test_processes_see_together_what_one_process_sees(augment):
    options = {"shuffle": True, "augment": preset(augment), "seed": 5}
    single = loader(batch_size=4, **options)
    ranks = [loader(batch_size=2, rank=rank, world_size=2, **options) for rank in range(2)]
    for whole, first, second in zip(single, *ranks, strict=True):
        x, y = torch.cat((first[0], second[0])), torch.cat((first[1], second[1]))
        by_label, together = whole[1].argsort(), y.argsort()
        assert torch.equal(whole[1][by_label], y[together])
        torch.testing.assert_close(whole[0][by_label], x[together])


def test_a_batch_equals_torchvision_applied_image_by_image():
    v2 = importlib.import_module("torchvision.transforms.v2.functional")
    images = split()
    augment = preset("crop4_flip")
    batches = loader(images, shuffle=True, augment=augment)
    x, y = collect(batches)
    from alignmixup.data.order import epoch_generator

    draw = augment.draw(20, image_size=6, generator=epoch_generator(0, 0, "augment"))
    for position, label in enumerate(y.tolist()):
        image = images.images[label]
        image = v2.horizontal_flip(image) if draw.flipped[position] else image
        image = v2.crop(v2.pad(image, [4]), *draw.offset[position].tolist(), 6, 6)
        expected = v2.normalize(v2.to_dtype(image, torch.float32, scale=True), MEAN, STD)
        torch.testing.assert_close(x[position], expected, atol=1e-5, rtol=1e-5)


def test_channels_last():
    x, _ = next(iter(loader(channels_last=True, augment=preset("crop4_flip"))))
    assert x.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(x.contiguous(), next(iter(loader(augment=preset("crop4_flip"))))[0])


def test_split_and_global_generator_are_left_alone():
    images = split()
    before, state = images.images.clone(), torch.get_rng_state()
    x, _ = next(iter(loader(images, shuffle=True, augment=preset("resized_crop_flip_color"))))
    x.zero_()
    assert torch.equal(images.images, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.parametrize("on_device", [True, False, None])
def test_cuda_batches_are_the_cpu_batches(on_device):
    options = {"shuffle": True, "augment": preset("crop4_flip")}
    expected = collect(loader(**options))
    found = collect(loader(device="cuda", on_device=on_device, **options))
    assert found[0].is_cuda
    torch.testing.assert_close(found[0].cpu(), expected[0])
    assert torch.equal(found[1].cpu(), expected[1])


def test_meta_device_shows_where_the_bytes_are():
    batches = loader(device="meta", on_device=False)
    x, y = next(iter(batches))
    assert x.device.type == y.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5,)}, r"one value per channel \(3\), got 1"),
        ({"std": (0.2, 0.2)}, "mean and std must be as many finite means as"),
        ({"std": (0.2, 0.2, 0.0)}, "positive deviations"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"batch_size": 32, "drop_last": True}, "gets no batch from 20 images"),
        ({"rank": 1}, "rank must lie in"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        loader(**options)


def test_augmentation_needs_square_images():
    wide = Split(torch.zeros(2, 3, 4, 6, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="augmentation is for square images, got 4x6"):
        loader(wide, augment=preset("crop1"))


def test_images_are_scaled_to_what_is_asked_for():
    square = Split(torch.full((2, 3, 8, 8), 200, dtype=torch.uint8), torch.tensor([0, 1]))
    batches = [next(iter(loader(square, image_size=6, augment=augment)))[0] for augment in (None, preset("crop1"))]
    assert [batch.shape for batch in batches] == [(2, 3, 6, 6)] * 2
    assert batches[0].std((0, 2, 3)).max() < 1e-6  # of one colour, as the images are
    windows = next(iter(loader(square, augment=preset("squeezed_crop"))))[0]  # scaled to 9, then cut
    torch.testing.assert_close(windows, next(iter(loader(square)))[0])


@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (32, 32), (16, 16)])
def test_images_come_out_square_where_a_side_is_named_and_as_they_are_where_none_is(shape):
    split = Split(torch.zeros(2, 3, *shape, dtype=torch.uint8), torch.tensor([0, 1]))
    options = {"batch_size": 2, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert next(iter(BatchLoader(split, image_size=32, **options)))[0].shape == (2, 3, 32, 32)
    assert next(iter(BatchLoader(split, **options)))[0].shape == (2, 3, *shape)


@pytest.mark.parametrize("augment", [Augment(jitter=0.4), Augment(lighting=0.1)])
def test_changes_of_colour_are_refused_for_images_without(augment):
    split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="jitter and lighting are of colours, and these images have 1 channels"):
        BatchLoader(split, batch_size=2, mean=[0.5], std=[0.5], augment=augment)
