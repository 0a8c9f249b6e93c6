"""The images of an update, divided among other numbers of processes; losses and positions converted."""

import pytest
import torch

from alignmixup.data.order import EpochOrder
from alignmixup.training.processes.division import Division


@pytest.mark.parametrize(
    ("before", "processes", "after"),
    [
        ((2, 32, 1), 1, (1, 32, 2)),
        ((1, 32, 1), 2, (2, 16, 1)),
        ((1, 32, 2), 2, (2, 32, 1)),
        ((2, 16, 1), 1, (1, 32, 1)),
        ((3, 32, 1), 2, (2, 24, 2)),
        ((4, 32, 2), 4, (4, 32, 2)),
        ((8, 32, 1), 64, (64, 4, 1)),
    ],
)
def test_an_update_keeps_its_images_and_batches_grow_no_larger(
    before: tuple[int, ...], processes: int, after: tuple[int, ...]
) -> None:
    division = Division(*before).among(processes, largest_batch=32)
    assert division == Division(*after)
    assert division.images == Division(*before).images
    assert division.among(before[0], largest_batch=before[1]) == Division(*before)


def test_an_update_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(ValueError, match="made of 64 images, which 3 processes cannot share evenly: start 1, 2 or 4"):
        Division(2, 32, 1).among(3, largest_batch=32)


@pytest.mark.parametrize("num_images", [48, 50, 53])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("before", [Division(2, 4, 1), Division(1, 4, 2), Division(4, 2, 1)])
@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_the_rest_of_an_epoch_is_what_was_not_seen(
    num_images: int, drop_last: bool, before: Division, processes: int
) -> None:
    after = before.among(processes, largest_batch=before.batch_size)

    def images(division: Division, steps: slice) -> list[int]:
        found: list[int] = []
        for rank in range(division.processes):
            order = EpochOrder(
                num_images, division.batch_size, True, drop_last, 0, rank=rank, world_size=division.processes
            )
            batches = torch.split(order.images(3), division.batch_size)
            assert -(-order.num_batches // division.accumulation) in ((num_images + 7) // 8, num_images // 8)
            found += [image for batch in batches[steps] for image in batch.tolist()]
        return sorted(found)

    for updates in range(num_images // 8 + 1):
        seen = images(before, slice(updates * before.accumulation))
        losses = [torch.rand(updates * before.accumulation) for _ in range(before.processes)]
        converted = before.convert(losses, after, batches=10**6)
        assert len(converted) == updates * after.accumulation
        if updates:
            torch.testing.assert_close(converted.mean(), torch.stack(losses).mean())
        rest = images(after, slice(len(converted), None))
        if drop_last:
            assert len(set(seen + rest)) == len(seen + rest) >= num_images - 8
        else:
            assert set(seen + rest) == set(range(num_images))
            assert len(seen + rest) < num_images + processes
