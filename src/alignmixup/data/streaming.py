"""Batches of images that are decoded from files by worker processes, then finished on the device."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from multiprocessing.connection import Listener

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alignmixup.data.dataset import FileSplit, TestView
from alignmixup.data.decode import decode_image, decode_pixels, jpeg_decoder, scaled_box, to_tensor, viewed
from alignmixup.data.loaders import EpochLoader
from alignmixup.data.order import EpochOrder, mix_seed
from alignmixup.data.transforms.augment import Augment
from alignmixup.data.transforms.crops import Interpolation, draw_box

__all__ = ["StreamLoader"]


@dataclass(eq=False, repr=False)
class StreamLoader(EpochLoader):
    """Batches of a split in files; same protocol and same guarantees as ``BatchLoader``.

    Workers decode, cut (a random box, or what ``view`` shows) and scale; bytes travel to the device, where everything
    else is done for the whole batch. Random boxes depend on (seed, epoch, image), not on the worker. Arguments are
    those of ``EpochLoader``, and:

    Args:
        view: what an image that is not cut at random shows of its file; see ``alignmixup.data.dataset.TestView``.
        crop: share of the scaled sides that a centre is; None for that of the view.
        workers: processes that decode; 0 decodes in this one; None takes a number that suits the processor,
            up to 8.

    Raises:
        ValueError: a value out of range, or an empty share; while iterating, a damaged image.
    """

    split: InitVar[FileSplit]
    _: KW_ONLY
    image_size: int = field()  # without None, the default of the base class
    view: TestView = "center"
    crop: float | None = None
    workers: int | None = None

    def __post_init__(self, split: FileSplit) -> None:
        super().__post_init__(split)
        workers = self.workers
        if workers is None:
            workers = min(8, (os.cpu_count() or 1) // self.world_size)
        elif workers < 0:
            raise ValueError(f"workers must be >= 0, got {workers}")
        if workers:
            _check_sockets()
        self._keys, self._passes, self._shared = _BatchKeys(self.order), 0, workers > 0
        self._batches = DataLoader(
            _Files(split, self.image_size, self.augment, self.seed, view=self.view, crop=self.crop),
            batch_sampler=self._keys,
            num_workers=workers,
            pin_memory=self._device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=_leave_group,
            # with a generator of its own, PyTorch's loader leaves the global one alone
            generator=torch.Generator().manual_seed(mix_seed(self.seed)),
        )
        if self.augment is not None:
            # the workers cut the boxes, where the image still has all its pixels
            self.augment = replace(self.augment, resized_crop=None)

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Name the next epoch; ``skip_batches`` leaves out its first ones, the others stay what they were."""
        super().set_epoch(epoch, skip_batches=skip_batches)
        self._keys.epoch, self._keys.skip = epoch, skip_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of the epoch."""
        draw = self._draw(self.image_size)
        for number, (decoded, labels) in enumerate(self._decoded(), start=self._skip):
            images = decoded.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            finished = self._finish(images, draw, number * self.order.batch_size)
            yield finished, labels.to(self._device, non_blocking=True)

    def _decoded(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._passes += 1
        number = self._passes
        try:
            for batch in self._batches:
                yield batch
                if self._shared and self._passes != number:  # the workers serve the latest pass only, and its batches
                    raise RuntimeError(
                        "another pass through this loader has begun, and its workers serve one at a time: build a "
                        "second loader, or set workers=0 (data.workers=0)"
                    )
        except (ValueError, FileNotFoundError) as error:
            _, from_worker, report = str(error).partition("Original Traceback")
            if not from_worker:
                raise
            # a worker's error arrives as a text that ends with "Type: message"; the message says it all
            message = report.strip().splitlines()[-1].partition(": ")[2]
            raise type(error)(message) from error


def _check_sockets() -> None:
    """Refuse a folder for temporary files in which workers can open no socket: their answers would never come."""
    try:
        Listener().close()
    except OSError as error:
        raise ValueError(
            f"loader workers can open no socket in the folder for temporary files, {tempfile.gettempdir()} ({error}): "
            "set the environment variable TMPDIR to one of a shorter name, such as /tmp, or data.workers=0"
        ) from error


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
    def __init__(
        self,
        split: FileSplit,
        image_size: int,
        augment: Augment | None,
        seed: int,
        *,
        view: TestView,
        crop: float | None,
    ) -> None:
        augment = augment or Augment()
        self._split = split
        self._view: TestView = view
        self._crop = crop
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
            pixels = to_tensor(viewed(decode_image(path, upright=upright), self._size, self._view, self._crop))
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
