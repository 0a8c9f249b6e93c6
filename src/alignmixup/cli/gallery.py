"""``alignmixup gallery``: what every method makes of the same images."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.pictures import choose, load_run, pixels

if TYPE_CHECKING:
    import numpy as np
    import torch

    from alignmixup.data import ImageData
    from alignmixup.figures.gallery import GalleryRow
    from alignmixup.methods import MixedBatch, Mixer
    from alignmixup.training.config import Config

_BATCH = 20  # images that a batch has at least: Co-Mixup's groups
_PATIENCE = 50  # batches until one is mixed at the input


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "gallery",
        help="a picture of what every method makes of the same images",
        description="Mix the same test images by several methods and draw the results with their masks and labels. "
        "The network of RUN finds what is salient, for the methods that ask it.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder of a trained network")
    parser.add_argument("--methods", metavar="NAMES", help="separated by commas (default: all that mix the input)")
    parser.add_argument("--columns", type=int, default=8, metavar="N", help="images in a row (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="which images, partners and λ (default: 0)")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data, if not that of the run")
    parser.add_argument("--out", type=Path, default=Path("gallery.png"), metavar="FILE", help="(default: gallery.png)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Draw the picture."""
    from alignmixup import methods
    from alignmixup.figures.gallery import draw_gallery

    if options.columns < 1:
        raise ValueError(f"--columns must be >= 1, got {options.columns}")
    trained = load_run(options.folder, data_root=options.data_root)
    dataset = trained.dataset
    x, y = choose(dataset, max(options.columns, _BATCH), seed=options.seed)
    named = options.methods.split(",") if options.methods else methods.available()
    rows = [plain_row(dataset, x, y, options.columns)]
    for name in named:
        batch = mixed_batch(build_mixer(name, trained.config, dataset, trained.model, seed=options.seed), x, y)
        if batch is not None:
            rows.append(row_of(name, dataset, batch, options.columns))
        elif options.methods:
            print(f"{name} mixes inside the network: there is no image to show")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw_gallery(rows, options.out, title=f"{dataset.name}, saliency by {trained.folder.path.name}")
    print(options.out)
    return 0


def build_mixer(name: str, config: Config, dataset: ImageData, model: torch.nn.Module, *, seed: int) -> Mixer:
    """A method as its bundled configuration for these data has it; with its defaults where there is none."""
    from alignmixup import methods
    from alignmixup.training.config_file import bundled_names, load

    bundled = f"{config.data.name}/{name}"
    return methods.build(
        name,
        model=model.train(),
        num_classes=dataset.num_classes,
        mean=dataset.mean,
        std=dataset.std,
        seed=seed,
        options=load(bundled).method.options if bundled in bundled_names() else {},
    )


def mixed_batch(mixer: Mixer, x: torch.Tensor, y: torch.Tensor) -> MixedBatch | None:
    """The first batch that the method mixes at the input; None where it never does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what alignment does in this network is not the question here
        for _ in range(_PATIENCE):
            batch = mixer(x, y)
            if batch.draw is not None and not batch.hidden:
                return batch
    return None


def plain_row(dataset: ImageData, x: torch.Tensor, y: torch.Tensor, columns: int) -> GalleryRow:
    """The images as they are."""
    from alignmixup.figures.gallery import GalleryRow

    return GalleryRow("images", pixels(dataset, x[:columns]), [dataset.class_names[k] for k in y[:columns].tolist()])


def row_of(name: str, dataset: ImageData, batch: MixedBatch, columns: int) -> GalleryRow:
    """A method's images, labels and masks."""
    from alignmixup.figures.gallery import GalleryRow

    captions = []
    for target in batch.target[:columns]:
        weight, label = target.topk(min(3, len(target)))
        parts = [(w, dataset.class_names[k]) for w, k in zip(weight.tolist(), label.tolist(), strict=True) if w > 0.005]
        captions.append("\n".join(f"{w:.2f} {text}" for w, text in parts))
    masks = None if batch.mask is None else mask_colours(batch.mask()[:columns])
    return GalleryRow(name, pixels(dataset, batch.x[:columns]), captions, masks)


def mask_colours(mask: torch.Tensor) -> np.ndarray:
    """Weights as colours: white for the first example and black for its partner; a colour for each of many inputs.

    Args:
        mask: (N, h, w) or (N, h, w, m).

    Returns:
        (N, h, w, 3) in [0, 1].
    """
    import numpy as np

    if mask.ndim == 3:
        return np.repeat(mask.cpu().numpy()[..., None], 3, axis=-1)
    from matplotlib import colormaps

    colours = colormaps["tab20"](np.arange(mask.shape[-1]) % 20)[:, :3]
    return np.asarray(mask.cpu().numpy() @ colours)
