"""The kinds of common corruptions and their published strengths, for three sizes of images."""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from alignmixup.near import near

Parameters = tuple[float, ...]
Table = Literal["cifar", "tiny-imagenet", "imagenet"]

_SNOW_SMALL = ((0.1, 0.2, 1, 0.6, 8, 3), (0.1, 0.2, 1, 0.5, 10, 4), (0.15, 0.3, 1.75, 0.55, 10, 4))
_SNOW_SMALL_STRONG = ((0.25, 0.3, 2.25, 0.6, 12, 6), (0.3, 0.3, 1.25, 0.65, 14, 12))
_ZOOM_SMALL = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))


def _snow(base: Sequence[Parameters], whitening: Sequence[float]) -> tuple[Parameters, ...]:
    return tuple((*row, keep) for row, keep in zip(base, whitening, strict=True))


def _scalars(*values: float) -> tuple[Parameters, ...]:
    return tuple((value,) for value in values)


# Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR 2019:
# the numbers of the code that made CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C. Lengths are in pixels of 32, 64 and 224.
TABLES: dict[Table, dict[str, tuple[Parameters, ...]]] = {
    "cifar": {
        "gaussian_noise": _scalars(0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": _scalars(500, 250, 100, 75, 50),
        "impulse_noise": _scalars(0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _ZOOM_SMALL,
        "snow": _snow(_SNOW_SMALL + _SNOW_SMALL_STRONG, (0.95, 0.9, 0.9, 0.85, 0.8)),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": _scalars(0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": _scalars(0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        "pixelate": _scalars(0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": _scalars(80, 65, 58, 50, 40),
        "speckle_noise": _scalars(0.06, 0.1, 0.12, 0.16, 0.2),
        "gaussian_blur": _scalars(0.4, 0.6, 0.7, 0.8, 1),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    },
    "tiny-imagenet": {
        "gaussian_noise": _scalars(0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": _scalars(250, 100, 50, 30, 15),
        "impulse_noise": _scalars(0.01, 0.02, 0.05, 0.08, 0.14),
        "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "zoom_blur": _ZOOM_SMALL,
        "snow": _snow(_SNOW_SMALL + _SNOW_SMALL_STRONG, (0.8, 0.8, 0.7, 0.65, 0.6)),
        "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "brightness": _scalars(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _scalars(0.4, 0.3, 0.2, 0.1, 0.05),
        "elastic_transform": (
            (0, 0, 5.12),
            (3.2, 19.2, 3.84),
            (6.4, 5.12, 3.84),
            (6.4, 1.92, 1.92),
            (10.24, 1.92, 1.28),
        ),
        "pixelate": _scalars(0.9, 0.8, 0.7, 0.6, 0.5),
        "jpeg_compression": _scalars(65, 58, 50, 40, 25),
        "speckle_noise": _scalars(0.15, 0.2, 0.25, 0.3, 0.35),
        "gaussian_blur": _scalars(0.5, 0.75, 1, 1.25, 1.5),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    },
    "imagenet": {
        "gaussian_noise": _scalars(0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": _scalars(60, 25, 12, 5, 3),
        "impulse_noise": _scalars(0.03, 0.06, 0.09, 0.17, 0.27),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        "brightness": _scalars(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _scalars(0.4, 0.3, 0.2, 0.1, 0.05),
        # multiples of 244, as published
        "elastic_transform": (
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
        "pixelate": _scalars(0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": _scalars(25, 18, 15, 10, 7),
        "speckle_noise": _scalars(0.15, 0.2, 0.35, 0.45, 0.6),
        "gaussian_blur": _scalars(1, 2, 3, 4, 6),
        "spatter": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
}


EXTRA_KINDS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that the benchmark keeps for choosing hyper-parameters; they are in the released folders too."""

KINDS = tuple(kind for kind in TABLES["cifar"] if kind not in EXTRA_KINDS)
"""The 15 kinds of the benchmark."""


def table_for(image_size: int) -> Table:
    """The table whose images come nearest in size: up to 45 pixels CIFAR's, up to 119 Tiny-ImageNet's.

    The strengths are in pixels of the table's own size and are not scaled.
    """
    sizes = {"cifar": 32, "tiny-imagenet": 64, "imagenet": 224}
    return min(get_args(Table), key=lambda name: max(image_size / sizes[name], sizes[name] / image_size))


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """``kinds`` as they are; ValueError for none, an unknown one or the same one twice."""
    known = KINDS + EXTRA_KINDS
    for kind in kinds:
        if kind not in known:
            raise ValueError(f"unknown corruption {kind!r}; {near(kind, known)}")
    if not kinds or len(set(kinds)) != len(kinds):
        raise ValueError(f"each corruption must be named once, at least one of them; got {list(kinds)}")
    return tuple(kinds)


def in_order(kinds: Collection[str]) -> tuple[str, ...]:
    """``kinds`` in the order of the benchmark."""
    return tuple(kind for kind in KINDS + EXTRA_KINDS if kind in kinds)


def check_severities(severities: Sequence[int]) -> tuple[int, ...]:
    """``severities`` as they are; ValueError for none, one outside 1 to 5 or the same one twice."""
    wrong = [severity for severity in severities if type(severity) is not int or not 1 <= severity <= 5]
    if wrong or not severities or len(set(severities)) != len(severities):
        raise ValueError(f"severities must be different integers from 1 to 5, got {list(severities)}")
    return tuple(severities)
