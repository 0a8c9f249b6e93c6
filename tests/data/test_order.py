import pytest
import torch

from alignmixup.data.order import EpochOrder, epoch_generator, mix_seed


def order(num_images: int = 10, batch_size: int = 4, **changes) -> EpochOrder:
    options = {"shuffle": True, "drop_last": False, "seed": 0, **changes}
    return EpochOrder(num_images, batch_size, **options)


def test_every_image_once_and_another_order_each_epoch():
    epochs = [order(100).images(epoch) for epoch in range(3)]
    assert all(images.sort().values.tolist() == list(range(100)) for images in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[1], order(100).images(1))
    assert order(5, shuffle=False).images(9).tolist() == [0, 1, 2, 3, 4]


def test_seed_plus_epoch_is_not_the_seed():
    assert not torch.equal(order(100, seed=0).images(1), order(100, seed=1).images(0))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("num_images", [10, 11, 12])
def test_equal_shards_cover_all_and_repeat_few(num_images, world_size):
    shards = [order(num_images, world_size=world_size, rank=rank).images(0) for rank in range(world_size)]
    sizes = {len(shard) for shard in shards}
    assert len(sizes) == 1
    together = torch.cat(shards)
    assert set(together.tolist()) == set(range(num_images))
    assert len(together) - num_images < world_size


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_exact_shards_hold_each_image_once(world_size):
    shards = [
        order(10, shuffle=False, world_size=world_size, rank=rank, equal_shards=False).images(0)
        for rank in range(world_size)
    ]
    assert torch.cat(shards).sort().values.tolist() == list(range(10))


def test_the_batches_of_all_processes_are_one_batch_of_a_single_one():
    single = order(24, batch_size=6).images(3)
    shards = [order(24, batch_size=2, world_size=3, rank=rank).images(3) for rank in range(3)]
    for batch in range(4):
        together = torch.cat([shard[2 * batch : 2 * batch + 2] for shard in shards])
        assert set(together.tolist()) == set(single[6 * batch : 6 * batch + 6].tolist())


@pytest.mark.parametrize(
    ("num_images", "batch_size", "drop_last", "batches", "images"),
    [
        (10, 4, False, 3, 10),
        (10, 4, True, 2, 8),
        (8, 4, True, 2, 8),
        (8, 4, False, 2, 8),
        (3, 4, False, 1, 3),
    ],
)
def test_last_batch(num_images, batch_size, drop_last, batches, images):
    counted = order(num_images, batch_size, drop_last=drop_last)
    assert (counted.num_batches, counted.shard_size) == (batches, images)


def test_dropping_does_not_count_repeated_images():
    assert order(7, 4, drop_last=True, world_size=1).shard_size == 4
    assert {order(15, 4, drop_last=True, world_size=2, rank=rank).shard_size for rank in (0, 1)} == {4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 2.0}, "batch_size must be an integer >= 1, got 2.0"),
        ({"rank": 2, "world_size": 2}, "rank must lie in"),
        ({"batch_size": 11, "drop_last": True}, "gets no batch from 10 images"),
        ({"num_images": 0}, "gets no batch from 0 images"),
        ({"num_images": 1, "world_size": 2, "rank": 1, "equal_shards": False}, "gets no batch from 1 images"),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        order(**changes)


def test_seeds_differ_in_every_argument():
    values = [mix_seed(*key) for key in ((0,), (1,), (0, 0), (0, 1), (1, 0), (1 << 40, 0), (-1, 0))]
    assert len(set(values)) == len(values)
    assert all(0 <= value < 1 << 32 for value in values)
    draws = [torch.rand(1, generator=epoch_generator(0, 0, purpose)).item() for purpose in ("order", "augment")]
    assert draws[0] != draws[1]
