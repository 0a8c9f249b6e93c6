"""Work through a batch in parts that stay in the processor's cache."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

# Between a core's and the whole processor's cache. Temporaries of a whole batch of maps cost two to three times the
# arithmetic on a CPU: each is fresh memory, which the system must clear first.
PART_BYTES = 2**20


def in_parts(function: Callable[[slice], Tensor], features: Tensor) -> Tensor:
    """Put together what a function gives for each of the `parts` of a batch."""
    results = [function(part) for part in parts(features)]
    return torch.cat(results) if len(results) > 1 else results[0]


def parts(features: Tensor) -> list[slice]:
    """Slices of about equal length that together cover a batch (B, ...), of whose values none is looked at.

    One slice on devices other than the CPU, where small parts would starve the device, and under ``torch.compile``,
    which orders memory itself. None is shorter than 2 unless B is: a batch of one takes other BLAS routines, with other
    roundings.
    """
    batch = features.shape[0]
    if torch.compiler.is_compiling() or features.device.type != "cpu" or batch == 0:
        return [slice(None)]
    sample_bytes = features[0].numel() * features.element_size()
    longest = max(PART_BYTES // max(sample_bytes, 1), 2)
    count = max(min(-(-batch // longest), batch // 2), 1)
    bounds = [batch * part // count for part in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]
