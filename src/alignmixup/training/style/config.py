"""Settings of a style autoencoder's training. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignmixup.options import option
from alignmixup.training.config import Table


@dataclass(frozen=True)
class StyleConfig(Table):
    """How the decoder is trained; data, seed and device come from the configuration of the run."""

    encoder: str = option(
        "residual",
        "residual: first stages of a PreActResNet-18 at the images' own size; vgg19: torchvision's at 224 pixels",
        choices=("residual", "vgg19"),
    )
    stages: int = option(2, "residual: stages of the network that encode", minimum=1, maximum=4)
    epochs: int = option(10, "passes over the training images", minimum=1)
    batch_size: int = option(64, "images per step, each decoded as itself and in another's style", minimum=1)
    lr: float = option(2e-3, "learning rate of Adam at the start; it falls to 0 as a cosine", above=0)
    content_weight: float = option(1.0, "weight of the content loss", minimum=0)
    style_weight: float = option(10.0, "weight of the style loss", minimum=0)
    reconstruction_weight: float = option(100.0, "weight of the squared error of pixels in [0, 1]", minimum=0)


def unfinished_file(out: Path, *, overwrite: bool) -> Path:
    """The file that keeps the state of an unfinished training for ``out``; refuse to replace a finished one unasked.

    It is the last to go, so that what was stopped anywhere before is continued.
    """
    unfinished = out.with_name(out.name + ".unfinished")
    if out.exists() and not unfinished.is_file() and not overwrite:
        raise ValueError(f"{out} is there already: --overwrite replaces it, --out takes another file")
    return unfinished
