"""Work through a batch in parts that stay in the processor's cache."""

from itertools import pairwise

import torch
from torch import Tensor

# Between a core's and the whole processor's cache. Temporaries of a whole batch of maps cost two to three times the
# arithmetic on a CPU: each is fresh memory, which the system must clear first.
PART_BYTES = 2**20


def parts(features: Tensor) -> list[slice]:
    """Slices that together cover the batch.

    One slice on devices other than the CPU, where small parts would starve the device, and under ``torch.compile``,
    which orders memory itself.

    Args:
        features: (B, ...); only shape, dtype and device are looked at.

    Returns:
        Slices of about equal length, at least 2 unless B is less: a batch of one takes other BLAS routines, with
        other roundings.
    """
    batch = features.shape[0]
    if torch.compiler.is_compiling() or features.device.type != "cpu" or batch == 0:
        return [slice(None)]
    sample_bytes = features[0].numel() * features.element_size()
    longest = max(PART_BYTES // max(sample_bytes, 1), 2)
    count = max(min(-(-batch // longest), batch // 2), 1)
    bounds = [batch * part // count for part in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]
