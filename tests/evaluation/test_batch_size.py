"""Batch sizes halve until they fit."""

import pytest
import torch

from alignmixup.evaluation.batch_size import first_batch_size, with_fitting_batch_size


def test_halves_until_it_fits() -> None:
    tried = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 30:
            raise torch.OutOfMemoryError
        return "done"

    assert with_fitting_batch_size(work, start=200) == ("done", 25)
    assert tried == [200, 100, 50, 25]


def test_gives_up_at_one_image_and_leaves_other_errors_alone() -> None:
    def never(size: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        with_fitting_batch_size(never, start=4)
    with pytest.raises(ZeroDivisionError):
        with_fitting_batch_size(lambda size: size // 0, start=4)
    with pytest.raises(ValueError, match="must be >= 1, got 0"):
        with_fitting_batch_size(never, start=0)


@pytest.mark.parametrize(
    ("device", "side", "expected"), [("cpu", 32, 256), ("cpu", 8, 2048), ("cpu", 224, 16), ("cuda", 224, 32)]
)
def test_first_size_follows_pixels(device: str, side: int, expected: int) -> None:
    assert first_batch_size(torch.device(device), image_size=side) == expected
