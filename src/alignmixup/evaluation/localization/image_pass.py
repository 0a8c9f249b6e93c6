"""One pass of a classifier over test images: the boxes of its class activation maps, and whether it is right."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignmixup.evaluation.localization.cam import ClassActivation, score_maps
from alignmixup.evaluation.localization.contour_boxes import CutTable

MAP_SIZE = (224, 224)


@dataclass(frozen=True, eq=False)
class ImagePass:
    """Boxes of the score maps of the true classes of N images; and whether the class was right, (N,) bool.

    It never is where logits are not finite.
    """

    table: CutTable
    correct: Tensor

    @property
    def error_percent(self) -> float:
        """Top-1 error."""
        return 100.0 * float((~self.correct).double().mean())


def localize(
    activation: ClassActivation,
    loader: Iterable[tuple[Tensor, Tensor]],
    tabulate: Callable[[Iterator[Tensor]], CutTable],
    *,
    size: tuple[int, int] = MAP_SIZE,
    outputs: Sequence[int] | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    watchers: Sequence[Callable[[int, Tensor, Tensor], None]] = (),
) -> ImagePass:
    """Map every image for its true class and find the boxes.

    ``loader`` yields images and labels on the model's device in the order of the boxes; ``tabulate`` makes the table of
    score maps (B, H, W) that come some at a time, ``size`` (height, width) each: 224 in the paper, the network's input.
    ``outputs`` are those that compete for the class (None for all).
    ``watchers`` are shown the number of images before, the images and the score maps of every batch.
    """
    right: list[Tensor] = []

    def maps() -> Iterator[Tensor]:
        done = 0
        for x, y in loader:
            with autocast():
                activations, logits = activation(x, y)
            found = score_maps(activations, size)
            competing = torch.arange(logits.shape[1]) if outputs is None else torch.tensor(outputs)
            chosen = logits.cpu()[:, competing]
            right.append((competing[chosen.argmax(1)] == y.cpu()) & chosen.isfinite().all(1))
            for watch in watchers:
                watch(done, x, found)
            done += len(x)
            yield found

    table = tabulate(maps())
    return ImagePass(table, torch.cat(right))
