"""What the pictures of networks and methods show. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignmixup.options import option
from alignmixup.runs.options.base import SEEN, Asked, Listed


@dataclass(frozen=True, kw_only=True)
class PairChoice(Asked):
    """Pairs of test images, and how their positions are matched."""

    pairs: int = option(4, "pairs of test images")
    classes: Literal["same", "different", "any"] = option("different", "of the two images of a pair")
    seed: int = option(0, "which pairs")
    epsilon: float | None = option(None, "regularisation of the plan (default: the run's, or 0.1)", above=0)
    iterations: int | None = option(None, "cap on the solver's rounds (default: the run's, or 100)", minimum=1)


@dataclass(frozen=True, kw_only=True)
class MatchOptions(PairChoice):
    """What a picture of matched positions shows."""

    pairs: int = option(4, maximum=SEEN)
    layer: str | None = option(None, "whose maps (default: the run's layer, or the last map)")
    lines: int = option(12, "surest matches to draw", minimum=0)


@dataclass(frozen=True, kw_only=True)
class MorphOptions(PairChoice):
    """What a picture of interpolated feature maps shows."""

    pairs: int = option(3, maximum=SEEN)
    steps: int = option(9, "values of λ from 1 to 0", minimum=2, maximum=SEEN)
    animation: str | Path | None = option(None, "write a .gif or .webp file too, there and back")


@dataclass(frozen=True)
class GalleryOptions(Asked):
    """What a picture of what methods make of the same images shows."""

    methods: Listed = option("", "separated by commas (default: all that mix the input)")
    columns: int = option(8, "images in a row", minimum=1, maximum=SEEN)
    seed: int = option(0, "which images, partners and λ")


@dataclass(frozen=True, kw_only=True)
class PathOptions(PairChoice):
    """What is measured along interpolated feature maps."""

    steps: int = option(9, "values of λ from 1 to 0, an odd number", minimum=2)
    layer: str | None = option(None, "where to interpolate (default: the run's layer)")

    def _check_options(self) -> None:
        if self.steps % 2 == 0:
            raise ValueError(f"--measure compares at λ = 1/2 too: --steps must be odd, got {self.steps}")
