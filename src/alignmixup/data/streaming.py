"""Batches of images that are decoded from files by worker processes, then finished on the device."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alignmixup.data.dataset import FileSplit, TestView
from alignmixup.data.decode import decode_image, decode_pixels, jpeg_decoder, scaled_box, to_tensor, viewed
from alignmixup.data.loaders import Normalizer
from alignmixup.data.order import EpochOrder, epoch_generator, mix_seed
from alignmixup.data.transforms.augment import Augment
from alignmixup.data.transforms.crops import Interpolation, draw_box

__all__ = ["StreamLoader"]


class StreamLoader:
    """Batches of a split in files; same protocol and same guarantees as ``BatchLoader``.

    Workers decode, cut (a random box, or what ``view`` shows) and scale; bytes travel to the device, where everything
    else is done for the whole batch. Random boxes depend on (seed, epoch, image), not on the worker.

    Args:
        split: the images.
        image_size: side of the images that come out.
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
        channels_last: yield the images in channels-last memory format.
        view: what an image that is not cut at random shows of its file; see ``alignmixup.data.dataset.TestView``.
        workers: processes that decode; 0 decodes in this one; None takes a number that suits the processor,
            up to 8.

    Raises:
        ValueError: a value out of range, or an empty share; while iterating, a damaged image.
    """

    def __init__(
        self,
        split: FileSplit,
        *,
        image_size: int,
        batch_size: int,
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
        channels_last: bool = False,
        view: TestView = "center",
        workers: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.order = EpochOrder(
            len(split), batch_size, shuffle, drop_last, seed, rank, world_size, equal_shards=equal_shards
        )
        # the workers cut the boxes, where the image still has all its pixels
        self._augment = None if augment is None else replace(augment, resized_crop=None)
        self._image_size = image_size
        self._keys = _BatchKeys(self.order)
        if workers is None:
            workers = min(8, (os.cpu_count() or 1) // world_size)
        elif workers < 0:
            raise ValueError(f"workers must be >= 0, got {workers}")
        self._batches = DataLoader(
            _Files(split, image_size, augment, seed, view),
            batch_sampler=self._keys,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=_leave_group,
            # with a generator of its own, PyTorch's loader leaves the global one alone
            generator=torch.Generator().manual_seed(mix_seed(seed)),
        )
        self._normalizer = Normalizer(mean, std, device=self.device, channels_last=channels_last)

    @property
    def num_images(self) -> int:
        """Images that this process yields in an epoch."""
        return self.order.shard_size

    def __len__(self) -> int:
        """Batches of a whole epoch on this process."""
        return self.order.num_batches

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Name the next epoch; ``skip_batches`` leaves out its first ones, the others stay what they were."""
        self._keys.epoch, self._keys.skip = epoch, skip_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of the epoch."""
        order, augment, skip = self.order, self._augment, self._keys.skip
        draw = None
        if augment is not None:
            generator = epoch_generator(order.seed, self._keys.epoch, "augment")
            draw = augment.draw(order.num_images, image_size=self._image_size, generator=generator)
            draw = draw.select(order.positions()).to(self.device)
        for number, (decoded, labels) in enumerate(self._decoded(), start=skip):
            images = decoded.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            if augment is not None and draw is not None:
                start = number * order.batch_size
                # mirroring takes several times as long where images are channels-last in memory
                images = augment.apply(images.contiguous(), draw.select(slice(start, start + len(images))))
            yield self._normalizer(images), labels.to(self.device, non_blocking=True)

    def _decoded(self) -> Iterator[tuple[Tensor, Tensor]]:
        try:
            yield from self._batches
        except (ValueError, FileNotFoundError) as error:
            _, from_worker, report = str(error).partition("Original Traceback")
            if not from_worker:
                raise
            # a worker's error arrives as a text that ends with "Type: message"; the message says it all
            message = report.strip().splitlines()[-1].partition(": ")[2]
            raise type(error)(message) from error


def _leave_group(_: int) -> None:
    """Make a worker the only process of its group: Ctrl-C and torchrun signal whole groups, and a run that is told to
    stop needs its workers until it has saved.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


class _BatchKeys:
    """Batches of an epoch as lists of (epoch, image): what a worker must know travels with the request."""

    def __init__(self, order: EpochOrder) -> None:
        self._order = order
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return self._order.num_batches - self.skip

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, batch = self.epoch, self._order.batch_size
        index = self._order.images(epoch)[self.skip * batch :]
        for start in range(0, len(index), batch):
            yield [(epoch, image) for image in index[start : start + batch].tolist()]


class _Files(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, split: FileSplit, image_size: int, augment: Augment | None, seed: int, view: TestView) -> None:
        augment = augment or Augment()
        self._split = split
        self._view: TestView = view
        self._area = augment.resized_crop
        self._whole = augment.margin > 1
        self._size = augment.enlarged(image_size)
        self._interpolation: Interpolation = augment.interpolation
        self._seed = seed
        if self._area is not None or self._whole:
            jpeg_decoder()  # imported here, for all workers

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        path, upright = self._split.root / self._split.paths[index], self._split.upright
        if self._area is None and not self._whole:
            pixels = to_tensor(viewed(decode_image(path, upright=upright), self._size, self._view))
        else:
            pixels = decode_pixels(path, upright=upright)
            height, width = pixels.shape[1:]
            box = (0, 0, height, width)
            if self._area is not None:
                generator = torch.Generator().manual_seed(mix_seed(self._seed, epoch, index, 3))
                box = draw_box(height, width, area=self._area, generator=generator)
            pixels = scaled_box(pixels, box, size=self._size, interpolation=self._interpolation)
        # (H, W, C), as it lies in memory, is quick to stack
        return pixels.permute(1, 2, 0), self._split.labels[index]
