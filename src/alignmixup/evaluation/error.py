"""Top-1 error, top-5 error and cross-entropy of a classifier."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.modules import device_of, evaluation_mode

_RESAMPLES = 10_000


@dataclass(frozen=True)
class ErrorResult:
    """Errors in percent and the mean cross-entropy in nats over ``images`` images."""

    error_percent: float
    top5_error_percent: float
    cross_entropy: float
    images: int


def count_errors(logits: Tensor, y: Tensor) -> Tensor:
    """Sums over a batch: wrong at top 1, wrong at top 5, cross-entropy, images.

    Convention:
        - A sample is right at top k when fewer than k classes rank before its own. Among equal logits the
          lower class ranks first, as in ``argmax``, so a constant network scores by chance. Non-finite logits
          are wrong.

    Returns:
        (4,) float64 on the device of ``logits`` (float32 where the device has no float64).
    """
    logits = logits.float()
    own = logits.gather(1, y[:, None])
    classes = torch.arange(logits.shape[1], device=logits.device)
    rank = ((logits > own) | ((logits == own) & (classes < y[:, None]))).sum(dim=1)
    readable = logits.isfinite().all(dim=1)
    wrong1 = ~(readable & (rank < 1))
    wrong5 = ~(readable & (rank < 5))
    loss = F.cross_entropy(logits, y, reduction="none")
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    count = torch.ones_like(loss)
    return torch.stack([wrong1, wrong5, loss, count]).to(precise).sum(dim=1)


@torch.no_grad()
def evaluate_error(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    sum_over_ranks: Callable[[Tensor], Tensor] = lambda value: value,
) -> ErrorResult:
    """Error of ``model``, which gives logits (B, K), in evaluation mode over all batches; its training flags are
    restored.

    ``loader`` yields (images, labels) on the model's device, of several processes each its own share, which
    ``sum_over_ranks`` adds once, after the last batch; ``autocast`` makes the context of each forward pass.

    Raises:
        ValueError: the loader yields nothing.
    """
    device = device_of(model)
    totals = torch.zeros(4, device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)
    with evaluation_mode(model):
        for x, y in loader:
            with autocast():
                logits = model(x)
            totals += count_errors(logits, y)
    wrong1, wrong5, loss, images = sum_over_ranks(totals).tolist()
    if not images:
        raise ValueError("nothing to evaluate: the loader yields no batch")
    return ErrorResult(100 * wrong1 / images, 100 * wrong5 / images, loss / images, int(images))


def error_interval(error_percent: float, images: int, *, seed: int = 0) -> list[float]:
    """95 % bootstrap interval of an error in percent over ``images`` test images.

    Convention:
        - Percentiles 2.5 and 97.5 of the error over 10,000 resamples of the images. The number of wrong ones among
          images that are drawn with replacement is binomial, so it is drawn as that.
        - It says how far another sample of test images would move the number; another seed of the training moves it
          too, and only several runs tell how far. Without any error, or with nothing else, it has no width.

    Source:
        Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 1979.

    Example:
        >>> [round(end, 1) for end in error_interval(50.0, 10000)]
        [49.0, 51.0]
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.full((_RESAMPLES,), float(images), dtype=torch.float64)
    shares = torch.full_like(counts, min(max(error_percent / 100, 0.0), 1.0))
    wrong = torch.binomial(counts, shares, generator=generator)
    ends = torch.quantile(100 * wrong / images, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return [float(end) for end in ends]
