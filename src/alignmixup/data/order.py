"""Which image comes when, and to which process: functions of (seed, epoch) alone."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignmixup.seeds import mix_bits

__all__ = ["EpochOrder", "epoch_generator", "mix_seed"]


def mix_seed(*values: int) -> int:
    """A 32-bit seed that depends on all bits of all values and on their order.

    PyTorch's CPU generator uses 32 bits of its seed, and seeds such as ``seed + epoch`` would make run 1's
    second epoch repeat run 2's first.
    """
    return mix_bits(*values) >> 32


def epoch_generator(seed: int, epoch: int, purpose: Literal["order", "augment"]) -> torch.Generator:
    """A CPU generator of its own for each seed, epoch and purpose."""
    stream = {"order": 1, "augment": 2}[purpose]
    return torch.Generator().manual_seed(mix_seed(seed, epoch, stream))


@dataclass(frozen=True)
class EpochOrder:
    """The order of the images in each epoch, and this process's share of it.

    The epoch is one sequence for all processes; process ``rank`` takes the entries ``rank``, ``rank +
    world_size``... Hence the b-th batches of all processes together are the b-th batch of one process with
    the batch size of all, and what was seen after some of them is the same for every number of processes.

    Args:
        num_images: images in the split, >= 1.
        batch_size, shuffle, drop_last, seed, rank, world_size: see ``alignmixup.data.loaders.EpochLoader``.
        equal_shards: give each process the same number of images, by repeating fewer than ``world_size`` of
            them (training, where a process without a batch would leave the others waiting); False gives each
            image to exactly one process (evaluation).

    Raises:
        ValueError: a value out of range, or no batch left after ``drop_last``.
    """

    num_images: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int
    rank: int = 0
    world_size: int = 1
    equal_shards: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be an integer >= 1, got {self.batch_size!r}")
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in [0, world_size), got rank {self.rank} of {self.world_size}")
        if self.num_batches == 0:
            raise ValueError(
                f"process {self.rank} of {self.world_size} gets no batch from {self.num_images} images: "
                f"batch_size={self.batch_size}, drop_last={self.drop_last}; use a smaller batch "
                "or fewer processes"
            )

    @property
    def num_positions(self) -> int:
        """Length of the epoch's sequence over all processes; above ``num_images`` where some are repeated."""
        if not self.equal_shards:
            return self.num_images
        return -(-self.num_images // self.world_size) * self.world_size

    @property
    def shard_size(self) -> int:
        """Images that this process yields in an epoch."""
        available = len(range(self.rank, self.num_positions, self.world_size))
        if self.drop_last:
            # repeats never fill a batch that would be dropped without them
            available = min(available, self.num_images // self.world_size) if self.equal_shards else available
            return available // self.batch_size * self.batch_size
        return available

    @property
    def num_batches(self) -> int:
        """Batches that this process yields in an epoch."""
        return -(-self.shard_size // self.batch_size)

    def positions(self) -> Tensor:
        """Places of this process in the epoch's sequence, (shard_size,) int64; repeated ones are those of its start."""
        return (self.rank + self.world_size * torch.arange(self.shard_size)) % self.num_images

    def images(self, epoch: int) -> Tensor:
        """Indices of this process's images in the order of ``epoch``, (shard_size,) int64."""
        positions = self.positions()
        if not self.shuffle:
            return positions
        return torch.randperm(self.num_images, generator=epoch_generator(self.seed, epoch, "order"))[positions]
