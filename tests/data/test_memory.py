"""What fits into memory passes, what does not is refused."""

import pytest

from alignmixup.data.memory import check_memory


def test_small_images_pass_and_huge_ones_are_refused():
    check_memory(100, 3, 224, bytes_each=4)
    with pytest.raises(
        ValueError, match=r"2 images of 3x10000000x10000000 need [\d,]+ GiB.*choose a smaller image_size"
    ):
        check_memory(2, 3, 10_000_000)
