"""Parts of a batch."""

import pytest
import torch

from alignmixup.functional.parts import PART_BYTES, parts


@pytest.mark.parametrize("floats", [1, PART_BYTES // 12, PART_BYTES])
def test_parts_cover_the_batch_in_order_and_none_is_alone(floats):
    for batch in (1, 2, 3, 7, 64, 65, 301):
        found = parts(torch.empty(batch, 1).expand(batch, floats))
        assert [i for part in found for i in range(batch)[part]] == list(range(batch))
        sizes = [part.stop - part.start for part in found]
        assert min(sizes) >= min(batch, 2), batch
        assert max(sizes) <= max(PART_BYTES // (4 * floats), 3), batch


def test_small_batches_and_other_devices_stay_whole():
    assert len(parts(torch.empty(128, 8))) == 1
    assert parts(torch.empty(128, 2**20, device="meta")) == [slice(None)]
    assert parts(torch.empty(0, 2**20)) == [slice(None)]
