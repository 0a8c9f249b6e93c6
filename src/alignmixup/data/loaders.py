"""Batches of images in memory: picked, augmented and normalised on the device, one batch at a time."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from alignmixup.data.dataset import Split
from alignmixup.data.order import EpochOrder, epoch_generator
from alignmixup.data.transforms.augment import Augment
from alignmixup.data.transforms.resize import resize

__all__ = ["BatchLoader", "Loader", "NoLoader", "Normalizer"]


class Loader(Protocol):
    """Batches of one epoch: images (B, C, H, W) float32, normalised, and labels (B,) int64, on the device."""

    @property
    def num_images(self) -> int:
        """Images that this process yields in an epoch."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Run through the epoch that ``set_epoch`` named last (0 at first)."""

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Name the next epoch, and how many of its first batches to leave out (to resume within it)."""


class Normalizer:
    """Bytes to normalised float32: (value / 255 - mean) / std for each channel.

    Args:
        mean: in [0, 1] units, one per channel.
        std: in [0, 1] units, one per channel, > 0.
        device: where the batches are.
        channels_last: give the result the channels-last memory format.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, device: torch.device, channels_last: bool
    ) -> None:
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"mean and std must be of one length, std > 0, got {tuple(mean)} and {tuple(std)}")
        mean64, std64 = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self._scale = (1 / (255 * std64)).float().view(1, -1, 1, 1).to(device)
        self._shift = (-mean64 / std64).float().view(1, -1, 1, 1).to(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise (B, C, H, W) uint8, or float32 in units of 255."""
        x = images.to(torch.float32, memory_format=self._format)
        if x is images:
            return x * self._scale + self._shift
        return x.mul_(self._scale).add_(self._shift)


class NoLoader:
    """The training loader of a data set that was loaded for testing alone: it holds nothing and says so when used.

    Args:
        name: of the data set.
    """

    num_images = 0

    def __init__(self, name: str) -> None:
        self._name = name

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Refuse."""
        raise ValueError(f"{self._name} was loaded with test_only=True: load it without, to train on it")

    def __len__(self) -> int:
        return 0

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Do nothing."""


class BatchLoader:
    """Batches of a split in memory, with no Python work per image.

    Order and augmentation of an epoch depend on (seed, epoch) alone, are drawn on the CPU from generators of
    their own, and are the same for any number of processes and any device. So there is no state to save: a
    resumed run names its epoch and sees the batches that an uninterrupted run sees.

    Args:
        split: the images.
        image_size: side of the images that come out; None for that of ``split``, scaled where it differs.
        batch_size: images per batch and process.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
        augment: what to do to the images at random; None for nothing.
        shuffle: a new random order each epoch.
        drop_last: leave out the last batch where it is not full.
        seed: any integer.
        device: where the batches go.
        rank: this process, in [0, world_size).
        world_size: number of processes.
        equal_shards: give all processes equally many images, by repeating a few; see ``EpochOrder``.
        on_device: keep the bytes on ``device``; None does so where they take less than half of its free
            memory.
        channels_last: yield the images in channels-last memory format.

    Raises:
        ValueError: a value out of range, or an empty share.

    Example:
        >>> from alignmixup import data
        >>> digits = data.load("digits")
        >>> loader = data.BatchLoader(digits.train, batch_size=100, mean=digits.mean, std=digits.std)
        >>> len(loader), [tuple(t.shape) for t in next(iter(loader))]
        (9, [(100, 1, 8, 8), (100,)])
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        image_size: int | None = None,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        equal_shards: bool = True,
        on_device: bool | None = None,
        channels_last: bool = False,
    ) -> None:
        channels, height, width = split.images.shape[1:]
        if len(mean) != channels:
            raise ValueError(f"mean and std must have one value per channel ({channels}), got {len(mean)}")
        if height != width and augment is not None:
            raise ValueError(f"augmentation is for square images, got {height}x{width}")
        self.device = torch.device(device)
        self.augment = augment
        self._image_size = image_size or width
        self._side = (augment or Augment()).enlarged(self._image_size)
        self.order = EpochOrder(
            len(split), batch_size, shuffle, drop_last, seed, rank, world_size, equal_shards=equal_shards
        )
        if on_device is None:
            on_device = _fits(split.images, self.device)
        self._images = split.images.to(self.device) if on_device else split.images
        self._labels = split.labels.to(self.device)
        self._normalizer = Normalizer(mean, std, device=self.device, channels_last=channels_last)
        self._epoch, self._skip = 0, 0

    @property
    def num_images(self) -> int:
        """Images that this process yields in an epoch."""
        return self.order.shard_size

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        return self.order.num_batches

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Name the next epoch; ``skip_batches`` leaves out its first ones, the others stay what they were."""
        self._epoch, self._skip = epoch, skip_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of the epoch."""
        order, augment = self.order, self.augment
        index = order.images(self._epoch)
        label_index, index = index.to(self.device), index.to(self._images.device)
        draw = None
        if augment is not None:
            # one draw for the whole epoch and all processes: cheap, and independent of the number of
            # processes
            generator = epoch_generator(order.seed, self._epoch, "augment")
            draw = augment.draw(order.num_images, image_size=self._image_size, generator=generator)
            draw = draw.select(order.positions()).to(self.device)
        for start in range(self._skip * order.batch_size, order.shard_size, order.batch_size):
            part = slice(start, min(start + order.batch_size, order.shard_size))
            images = self._on_device(self._images.index_select(0, index[part]))
            if images.shape[-1] != self._side:
                images = resize(images.to(torch.float32), self._side)  # CUDA scales no bytes with antialiasing
            if augment is not None and draw is not None:
                images = augment.apply(images, draw.select(part))
            yield self._normalizer(images), self._labels.index_select(0, label_index[part])

    def _on_device(self, images: Tensor) -> Tensor:
        if images.device == self.device:
            return images
        if self.device.type == "cuda":
            return images.pin_memory().to(self.device, non_blocking=True)
        return images.to(self.device)


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() < free // 2
