"""Mean and standard deviation of the channels, under the names of their origins."""

import math
from collections.abc import Sequence

from alignmixup.near import near

__all__ = ["PRESETS", "check_constants", "mean_std"]

# in [0, 1] units; a single value serves any number of channels
PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # mixup-cifar10 (CIFAR-10) and AlignMixup (CIFAR-10, CIFAR-100 and Tiny-ImageNet alike)
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    # manifold_mixup, Puzzle Mix, Co-Mixup (CIFAR-10); CutMix, StyleMix, SaliencyMix (CIFAR-10 and CIFAR-100)
    "cifar10_bytes": ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)),
    # manifold_mixup, Puzzle Mix, Co-Mixup (CIFAR-100)
    "cifar100": ((129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255)),
    # manifold_mixup, Puzzle Mix, Co-Mixup (Tiny-ImageNet)
    "half": ((0.5,), (0.5,)),
    # everybody on ImageNet; openmixup on Tiny-ImageNet too
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # pixels of the 899 training digits
    "digits": ((0.3057,), (0.3763,)),
    # values in [0, 1], unchanged
    "none": ((0.0,), (1.0,)),
}


def mean_std(name: str, *, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1] units.

    Args:
        name: a key of ``PRESETS``, or the numbers themselves as ``"mean/std"``, such as ``"0.5,0.5,0.5/0.2,0.2,0.2"``.
        channels: channels of the images.

    Raises:
        ValueError: unknown name, numbers that are none or not positive, or those of another number of channels.
    """
    mean, std = _numbers(name) if "/" in name else _preset(name)
    if len(mean) == 1:
        return mean * channels, std * channels
    if len(mean) != channels:
        any_channels = [key for key, value in PRESETS.items() if len(value[0]) == 1]
        raise ValueError(
            f"normalization {name!r} is for {len(mean)} channels and the images have {channels}; "
            f"for any number: {', '.join(any_channels)}"
        )
    return mean, std


def _preset(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if name not in PRESETS:
        raise ValueError(f"unknown normalization {name!r}; {near(name, PRESETS)}, or numbers as MEAN,.../STD,...")
    return PRESETS[name]


def _numbers(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean, std = (tuple(float(number) for number in side.split(",")) for side in text.split("/"))
    except ValueError:
        mean, std = (), ()
    try:
        check_constants(mean, std)
    except ValueError as error:
        raise ValueError(f"normalization {text!r} is not MEAN,.../STD,...: {error}") from None
    return mean, std


def check_constants(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse what is no mean and deviation of channels in units of pixels in [0, 1].

    Those of bytes would pass, and blacken every image.
    """
    numbers = [*mean, *std]
    if not mean or len(mean) != len(std) or not all(map(math.isfinite, numbers)) or min(std) <= 0 or max(numbers) > 1:
        raise ValueError(
            "mean and std must be as many finite means as positive deviations, in units of pixels in [0, 1], so none "
            f"above 1, got {tuple(mean)} and {tuple(std)}"
        )
