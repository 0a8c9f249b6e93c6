"""The representation of a classifier measured on test images: spectra, errors, and what lies between and around."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.data.dataset import FileSplit, Split
from alignmixup.data.loaders import Normalizer
from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.evaluation.paths.pairs import draw_pairs
from alignmixup.evaluation.representation.smoothness import (
    along_segments,
    beside,
    summarise_segments,
    summarise_steps,
)
from alignmixup.evaluation.representation.spectrum import class_spectra
from alignmixup.modules import device_of, evaluation_mode

__all__ = ["LEVELS", "PLACES", "STEPS", "evaluate_representation", "summarise_errors"]

PLACES = 21  # along a segment between two images
STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)  # around an image, in units of 1/255, root mean square
LEVELS = tuple(level / 10 for level in range(1, 10))  # of confidence, which errors are counted above


def evaluate_representation(
    model: nn.Module,
    split: Split | FileSplit,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    seed: int = 0,
    batch_size: int = 256,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """What the Manifold mixup paper claims of mixing, measured: flatter classes, less sure errors, smoother decisions.

    Convention:
        - Features are what the last fully connected layer or 1x1 convolution that runs reads, in evaluation mode; the
          mean over positions or tokens where it reads many.
        - Segments join each image with one of another class, the same ones for every network, at ``PLACES`` even places
          between normalised images. Around each image one random direction, the same for every network, is followed
          by each of ``STEPS``; pixels may leave [0, 1].
        - ``progress`` hears of the images done, `passes` for each image.

    Returns:
        JSON-ready: ``images``, ``layer`` and ``features`` (their number); ``spectrum`` with "centred" and "uncentred"
        (`ClassSpectra.summary`); ``within_class_percent``, the share of the features' squared norm that is not the
        mean of their class; ``errors`` (`summarise_errors`); ``segments`` (`summarise_segments`); ``steps``
        (`summarise_steps`, with ``step_255``).

    Raises:
        ValueError: images in files, a network without such a layer, one that has diverged, or no class with two images.
    """
    if not isinstance(split, Split):
        raise ValueError("a representation needs the test images in memory: load the data with in_memory=True")
    normalize = Normalizer(mean, std, device=device_of(model), channels_last=False)
    scale = 1 / (255 * torch.tensor(std)).view(1, -1, 1, 1)  # of a byte, in normalised units

    def classify(x: Tensor) -> Tensor:
        parts = []
        for part in torch.split(x, batch_size):
            with autocast():
                logits = model(part).float()
            if not bool(logits.isfinite().all()):
                raise ValueError("logits between or around the images are not finite: the network has diverged")
            parts.append(logits.cpu().double().softmax(1))
            progress(len(part))
        return torch.cat(parts)

    def batches(index: Tensor, size: int) -> Iterator[Tensor]:
        for part in torch.split(index, size):
            yield normalize(split.images[part].to(device_of(model)))

    check_labels(split.labels)
    everything = torch.arange(len(split))
    pairs = draw_pairs(split.labels, len(split), classes="different", generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), evaluation_mode(model):
        name, features, probs = _features(model, batches(everything, batch_size), classify)
        few = max(1, batch_size // PLACES)
        ends = zip(batches(pairs[:, 0], few), batches(pairs[:, 1], few), strict=True)
        segments = torch.cat([along_segments(classify, first, second, PLACES) for first, second in ends])
        moved = [_moved(classify, batches(everything, batch_size), step, scale, seed) for step in STEPS]
    centred, uncentred = (class_spectra(features, split.labels, centred=centred) for centred in (True, False))
    energy = [sum(float(values.square().sum()) for values in found.values) for found in (centred, uncentred)]
    return {
        "images": len(split),
        "layer": name,
        "features": features.shape[1],
        "classes": len(centred.counts),
        "images_of_a_class": [min(centred.counts), max(centred.counts)],
        "seed": seed,
        "spectrum": {"centred": centred.summary(), "uncentred": uncentred.summary()},
        "within_class_percent": 100 * energy[0] / max(energy[1], 1e-300),
        "errors": summarise_errors(probs, split.labels),
        "segments": summarise_segments(segments),
        "steps": [
            {"step_255": step, **summarise_steps(probs, other)} for step, other in zip(STEPS, moved, strict=True)
        ],
    }


def check_labels(labels: Tensor) -> None:
    """Refuse images (N,) of too few classes to measure a representation."""
    counts = torch.bincount(labels)
    if not (counts > 1).any() or not (counts > 0).sum() > 1:
        raise ValueError(
            f"a representation needs images of two classes, and two of one of them, and these are {len(labels)} of "
            f"{int((counts > 0).sum())}: take more (--limit), or leave representation out of --what"
        )


def passes() -> int:
    """Forward passes for each image."""
    return 1 + PLACES + len(STEPS)


def summarise_errors(probs: Tensor, labels: Tensor) -> dict[str, Any]:
    """How sure a classifier is where it errs, of probabilities (N, K) and labels (N,), ready for JSON.

    ``mean_confidence_percent`` of the errors, ``above_percent`` the share of them whose confidence is above each of
    ``levels``, and ``right_confidence_percent`` where it is right; None where there is no such image.
    """
    confidence, predicted = probs.max(1)
    wrong = predicted != labels.cpu()
    errors, right = confidence[wrong], confidence[~wrong]
    above = [100 * float((errors > level).double().mean()) for level in LEVELS] if len(errors) else None
    return {
        "count": len(errors),
        "mean_confidence_percent": 100 * float(errors.mean()) if len(errors) else None,
        "levels": list(LEVELS),
        "above_percent": above,
        "right_confidence_percent": 100 * float(right.mean()) if len(right) else None,
    }


def _features(
    model: nn.Module, batches: Iterator[Tensor], classify: Callable[[Tensor], Tensor]
) -> tuple[str, Tensor, Tensor]:
    """Name of the last linear layer that runs, what it reads (N, D) float64, and the class probabilities (N, K)."""
    last: list[tuple[str, Tensor]] = []  # of each batch, the last call

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            last[-1:] = [(name, arguments[0].detach())]

        return see

    handles = [module.register_forward_pre_hook(note(name)) for name, module in _linear_layers(model)]
    name, features, probs = "", [], []
    try:
        for x in batches:
            last.clear()
            probs.append(classify(x))
            name, read = last[0] if last else ("", x[:0])
            if len(read) != len(x):
                raise ValueError(
                    f"{type(model).__name__} has no fully connected layer or 1x1 convolution that reads one row an "
                    "image: there are no features to measure; leave representation out of --what"
                )
            features.append(_one_vector(read).cpu().double())
    finally:
        for handle in handles:
            handle.remove()
    return name, torch.cat(features), torch.cat(probs)


def _linear_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Fully connected layers and 1x1 convolutions by name: what computes the logits is one of them."""

    def is_linear(module: nn.Module) -> bool:
        return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1})

    return [(name, module) for name, module in model.named_modules() if is_linear(module)]


def _one_vector(read: Tensor) -> Tensor:
    """What a layer reads as (B, D): the mean over the positions of a map (B, D, H, W), or over tokens (B, T, D)."""
    return read.mean((2, 3)) if read.ndim == 4 else read.flatten(1, -2).mean(1) if read.ndim == 3 else read


def _moved(
    classify: Callable[[Tensor], Tensor], batches: Iterator[Tensor], step: float, scale: Tensor, seed: int
) -> Tensor:
    """Probabilities (N, K) of images moved by ``step``, each in one direction, whatever the batch and the step."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([classify(beside(x, step, scale, generator)) for x in batches])
