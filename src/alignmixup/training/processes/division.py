"""How the images of an update are divided among processes and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignmixup.training.config import TrainConfig


@dataclass(frozen=True)
class Division:
    """The images of one update of the weights: so many processes, each with so many batches of so many images.

    What belongs to a run is their product. Batches of all processes follow one sequence of images
    (`alignmixup.data.order`), so another number of processes with the same product makes the same updates from the
    same images, as many in an epoch, with the same learning rates.

    Attributes:
        processes: that work together.
        batch_size: images per step and process.
        accumulation: steps per update.
    """

    processes: int
    batch_size: int
    accumulation: int

    @classmethod
    def of(cls, train: TrainConfig, processes: int) -> Division:
        """That of a run which begins with so many processes."""
        return cls(processes, train.batch_size, train.accumulation)

    @property
    def images(self) -> int:
        """Images of one update."""
        return self.processes * self.batch_size * self.accumulation

    def among(self, processes: int, *, largest_batch: int) -> Division:
        """The same updates by another number of processes, in the fewest steps whose batches are not too large.

        Args:
            processes: their number.
            largest_batch: images that a process can hold at a time.

        Raises:
            ValueError: they cannot share an update evenly.
        """
        share, rest = divmod(self.images, processes)
        if rest:
            fitting = [n for n in range(1, 2 * max(processes, self.processes)) if self.images % n == 0]
            raise ValueError(
                f"an update of this run is made of {self.images} images, which {processes} processes cannot share "
                f"evenly: start {', '.join(map(str, fitting[:-1]))} or {fitting[-1]}"
            )
        steps = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= largest_batch)
        return Division(processes, share // steps, steps)

    def convert(self, losses: Sequence[Tensor], other: Division, *, batches: int) -> Tensor:
        """Losses of the steps of an epoch, as far as it went, as steps of another division.

        Args:
            losses: of each process, (steps,); up to an update, or to the end of the epoch.
            other: the division now.
            batches: steps of a whole epoch now.

        Returns:
            (steps now,), each with the mean loss of its update.
        """
        mean = torch.stack(list(losses)).mean(0)
        updates = [float(part.mean()) for part in torch.split(mean, self.accumulation) if len(part)]
        return torch.tensor(updates, dtype=mean.dtype).repeat_interleave(other.accumulation)[:batches]

    def __str__(self) -> str:
        times = f"{self.accumulation} x " if self.accumulation > 1 else ""
        return f"{self.processes} process{'es' if self.processes > 1 else ''} x {times}{self.batch_size} images"
