"""Which network is measured or shown, and how. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignmixup.options import option
from alignmixup.runs.options.base import Asked
from alignmixup.training.overrides import agreed


@dataclass(frozen=True, kw_only=True)
class NetworkChoice(Asked):
    """The weights of a network, and how a model by name sees its test images; a run brings its own of that."""

    checkpoint: str | Path | None = option(None, "file with the weights, .safetensors or .pth, wrapped as usual")
    key: str | None = option(None, "which of several state dicts in the checkpoint, such as model_ema")
    weights: Literal["last", "best", "raw", "model"] = option(
        "last",
        "of a run: of the last epoch (also model); of the epoch with the lowest error, on the test set unless "
        "data.validation held images out; or before averaging (ema_decay)",
    )
    data: str | None = option(
        None,
        "data set of a MODEL, such as cifar10, imagenet or folder; of a run, folder: other test images of its classes",
    )
    root: str | Path | None = option(None, "folder of the data")
    mean: str | tuple[float, ...] | None = option(  # a list does too
        None,
        "mean of each channel that a MODEL expects, as 0.49,0.48,0.45; with --std (default: the data set's; of folder "
        "ImageNet's)",
    )
    std: str | tuple[float, ...] | None = option(None, "deviation of each channel, in units of pixels in [0, 1]")
    size: int | None = option(None, "side of the images that a MODEL sees (default: the data set's)", minimum=1)
    crop: float | None = option(
        None, "imagenet and folder: share of the scaled sides that is shown (default: 0.875)", above=0, maximum=1
    )
    labels: str | Path | None = option(
        None, "JSON or text file with the output of a MODEL for each class folder; or imagenet, for n01440764..."
    )
    outputs: Literal["folders", "all"] = option(
        "folders", "with --labels, which outputs compete: those of the folders that are there, or all"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] | None = option(None, "where to compute (default: train.device)")
    trust: bool = option(
        False,
        "allow what a run names: modules outside this package, which can do anything, and the network",
    )

    def _check_options(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("--mean and --std go together: give both, or neither")
        if self.key and not self.checkpoint:
            raise ValueError("--key names a part of a checkpoint: give --checkpoint FILE")
        if self.checkpoint and self.weights != "last":
            raise ValueError(
                f"--weights {self.weights} names a file of the run, and --checkpoint another: leave one of them out"
            )
        if self.outputs == "all" and not self.labels:
            raise ValueError("--outputs all goes with --labels: without a map, every output is a class of the data")

    @property
    def of_a_model(self) -> dict[str, Any]:
        """What is said that a run says itself."""
        names = ("data", "mean", "std", "size", "crop", "labels")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def beside(self, overrides: Sequence[str]) -> list[str]:
        """``overrides`` and the configuration keys that these options stand for; see `agreed`."""
        sides = [side if isinstance(side, str) else ",".join(map(str, side or ())) for side in (self.mean, self.std)]
        normalization = None if self.mean is None else "/".join(sides)
        return agreed(
            overrides,
            {
                "data.root": (f"--root {self.root}", None if self.root is None else str(self.root)),
                "data.normalization": (f"--mean {sides[0]} --std {sides[1]}", normalization),
                "data.image_size": (f"--size {self.size}", self.size),
                "train.device": (f"--device {self.device}", self.device),
            },
        )
