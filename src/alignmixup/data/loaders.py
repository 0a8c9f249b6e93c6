"""Batches of images in memory: picked, augmented and normalised on the device, one batch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from alignmixup.data.dataset import Split
from alignmixup.data.mean_std import check_constants
from alignmixup.data.order import EpochOrder, epoch_generator
from alignmixup.data.transforms.augment import Augment, AugmentDraw
from alignmixup.data.transforms.resize import resize

__all__ = ["BatchLoader", "EpochLoader", "Loader", "NoLoader", "Normalizer"]


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
    """Bytes to normalised float32: (value / 255 - mean) / std for each channel, mean and std in [0, 1] units."""

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, device: torch.device, channels_last: bool
    ) -> None:
        check_constants(mean, std)
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
    """The training loader of a data set that was loaded for testing alone: it holds nothing and says so when used."""

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


@dataclass(eq=False, repr=False)
class EpochLoader:
    """What the loaders of images in memory and in files share.

    Order and augmentation of an epoch depend on (seed, epoch) alone, are drawn on the CPU from generators of
    their own, and are the same for any number of processes and any device. So there is no state to save: a
    resumed run names its epoch and sees the batches that an uninterrupted run sees.

    Args:
        split: the images.
        batch_size: images per batch and process.
        mean: of each channel, in [0, 1] units.
        std: of each channel, in [0, 1] units.
        image_size: side of the images that come out; None for that of images in memory, scaled where it differs.
        augment: what to do to the images at random; None for nothing.
        shuffle: a new random order each epoch.
        drop_last: leave out the last batch where it is not full.
        seed: any integer.
        device: where the batches go.
        rank: this process, in [0, world_size).
        world_size: number of processes.
        equal_shards: give all processes equally many images, by repeating a few; see ``EpochOrder``.
        channels_last: yield the images in channels-last memory format.

    Raises:
        ValueError: a value out of range, or an empty share.
    """

    split: InitVar[Any]
    _: KW_ONLY
    batch_size: int
    mean: Sequence[float]
    std: Sequence[float]
    image_size: int | None = None
    augment: Augment | None = None
    shuffle: bool = False
    drop_last: bool = False
    seed: int = 0
    device: torch.device | str = "cpu"
    rank: int = 0
    world_size: int = 1
    equal_shards: bool = True
    channels_last: bool = False

    def __post_init__(self, split: Any) -> None:
        self.device = self._device = torch.device(self.device)
        if self.augment is not None and (self.augment.jitter or self.augment.lighting) and len(self.mean) != 3:
            raise ValueError(
                f"jitter and lighting are of colours, and these images have {len(self.mean)} channels: take another "
                "augmentation"
            )
        share = (self.rank, self.world_size, self.equal_shards)
        self.order = EpochOrder(len(split), self.batch_size, self.shuffle, self.drop_last, self.seed, *share)
        self._normalizer = Normalizer(self.mean, self.std, device=self._device, channels_last=self.channels_last)
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

    def _draw(self, image_size: int) -> AugmentDraw | None:
        """What is random about the images of this process's epoch, in their order."""
        if self.augment is None:
            return None
        # one draw for the whole epoch and all processes: cheap, and independent of the number of processes
        generator = epoch_generator(self.seed, self._epoch, "augment")
        draw = self.augment.draw(self.order.num_images, image_size=image_size, generator=generator)
        return draw.select(self.order.positions()).to(self._device)

    def _finish(self, images: Tensor, draw: AugmentDraw | None, start: int) -> Tensor:
        """Augment and normalise the images from place ``start`` of the epoch on."""
        if self.augment is not None and draw is not None:
            # mirroring takes several times as long where images are channels-last in memory
            images = self.augment.apply(images.contiguous(), draw.select(slice(start, start + len(images))))
        return self._normalizer(images)


@dataclass(eq=False, repr=False)
class BatchLoader(EpochLoader):
    """Batches of a split in memory, with no Python work per image. Arguments are those of ``EpochLoader``, and:

    Args:
        on_device: keep the bytes on ``device``; None does so where they take less than half of its free
            memory.

    Example:
        >>> from alignmixup import data
        >>> digits = data.load("digits")
        >>> loader = data.BatchLoader(digits.train, batch_size=100, mean=digits.mean, std=digits.std)
        >>> len(loader), [tuple(t.shape) for t in next(iter(loader))]
        (9, [(100, 1, 8, 8), (100,)])
    """

    split: InitVar[Split]
    _: KW_ONLY
    on_device: bool | None = None

    def __post_init__(self, split: Split) -> None:
        channels, height, width = split.images.shape[1:]
        if len(self.mean) != channels:
            raise ValueError(f"mean and std must have one value per channel ({channels}), got {len(self.mean)}")
        if height != width and self.augment is not None:
            raise ValueError(f"augmentation is for square images, got {height}x{width}")
        super().__post_init__(split)
        self._image_size = self.image_size or width
        self._side = (self.augment or Augment()).enlarged(self._image_size)
        self._is_scaled = (height, width) != (self._side, self._side) and (self.image_size or self.augment) is not None
        on_device = _fits(split.images, self._device) if self.on_device is None else self.on_device
        self._images = split.images.to(self._device) if on_device else split.images
        self._labels = split.labels.to(self._device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of the epoch."""
        order = self.order
        index, draw = order.images(self._epoch), self._draw(self._image_size)
        label_index, index = index.to(self._device), index.to(self._images.device)
        for start in range(self._skip * order.batch_size, order.shard_size, order.batch_size):
            part = slice(start, min(start + order.batch_size, order.shard_size))
            images = self._on_device(self._images.index_select(0, index[part]))
            if self._is_scaled:
                images = resize(images.to(torch.float32), self._side)  # CUDA scales no bytes with antialiasing
            yield self._finish(images, draw, start), self._labels.index_select(0, label_index[part])

    def _on_device(self, images: Tensor) -> Tensor:
        if images.device == self._device:
            return images
        if self._device.type == "cuda":
            return images.pin_memory().to(self._device, non_blocking=True)
        return images.to(self._device)


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() < free // 2
