"""Train the autoencoder of StyleMix and StyleCutMix.

Train a style autoencoder. Its encoder is frozen: the first stages of a finished run's network; without --run, of a
small classifier that is trained first, in a folder beside FILE (--set changes it); or VGG-19. FILE gets the weights,
the styles of the classes and what was measured, and a picture goes beside it. After an interruption the same command
continues.
"""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path

from alignmixup.cli.arguments import add_options, add_set, add_trust
from alignmixup.cli.train import train_or_say_how
from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.terminal import say
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, load
from alignmixup.training.foreign import only_read
from alignmixup.training.meaning import FREE_KEYS
from alignmixup.training.overrides import agreed, check_keys
from alignmixup.training.style.config import StyleConfig, unfinished_file

_FIGURE_IMAGES = 7
_RUN_KEYS = (*FREE_KEYS, "data.subset", "data.imbalance", "train.seed", "train.precision")
# A classifier whose first stages are worth encoding with, and no more: narrow and briefly trained.
_CLASSIFIER = (
    "model.width=32",
    "model.strides=[1,2,2,2]",
    "model.in_channels=3",
    "model.final_norm=false",
    "optimizer.lr=0.1",
    "train.batch_size=128",
    "train.epochs=10",
    "train.threads=0",
)
_DIGITS_CLASSIFIER = ("model.width=16",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="NAME", help="data set, such as cifar100 (default: that of --run)")
    parser.add_argument("--run", metavar="RUN", dest="run_folder", type=Path, help="run folder of a preact_resnet18")
    add_set(parser)
    add_trust(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="file to write, such as x.safetensors")
    parser.add_argument("--overwrite", action="store_true", help="start everything anew and replace FILE")
    add_options(parser, StyleConfig)


def run(options: argparse.Namespace) -> int:
    """Train, draw the picture, print what was measured."""
    style = StyleConfig.part_of(options)
    if options.out.is_dir() or not options.out.suffix:
        raise ValueError(f"--out takes a file, such as {options.out}.safetensors, got {options.out}")
    unfinished_file(options.out, overwrite=options.overwrite)
    RunFolder(options.out.parent).check_output(options.out)
    config, classifier = _resolve(options, style)
    if classifier is not None and options.run_folder is None:
        arguments = shlex.join(["alignmixup", "train-style", "--data", options.data, "--out", str(options.out)])
        mode: Mode = "overwrite" if options.overwrite else "resume"
        if train_or_say_how(config, classifier, mode=mode, way_on=f"{arguments} (and your other options)") is None:
            return 130
    from alignmixup.training.progress.display import default_reporter
    from alignmixup.training.style.train import train_style

    measured = train_style(
        config,
        style,
        options.out,
        weights=None if classifier is None else classifier.weights,
        overwrite=options.overwrite,
        reporter=default_reporter(),
        draw=partial(_draw, config),
    )
    say(
        f"{options.out}: reconstruction {measured['psnr_db']:.1f} dB, content loss {measured['content_loss']:.3f}, "
        f"style loss {measured['style_loss']:.3f} on the test images, {measured['seconds']:.0f} s; "
        f"{_picture(options.out)}"
    )
    return 0


def _resolve(options: argparse.Namespace, style: StyleConfig) -> tuple[Config, RunFolder | None]:
    """Configuration of the data and the encoder, and the run folder that has or gets the encoder's weights."""
    if style.encoder == "vgg19":
        if style.stages != StyleConfig.stages:
            raise ConfigError(
                f"--stages {style.stages} is of the residual encoder, and VGG-19 has its own: leave it out"
            )
        others = [text for text in options.set if not text.strip().startswith("data.")]
        check_keys(others, _RUN_KEYS, "with --encoder vgg19 no classifier is trained; open are data.* and {}")
    if options.run_folder is None:
        if options.data is None:
            raise ConfigError("--data or --run says which images to train on")
        network = _DIGITS_CLASSIFIER if options.data == "digits" else _CLASSIFIER
        own = agreed(options.set, {"data.name": (f"--data {options.data}", options.data)})
        config = load("digits/baseline", [*network, *own])
        folder = RunFolder(options.out.with_name(f"{options.out.stem}-classifier"))
        return config, None if style.encoder == "vgg19" else folder
    folder = RunFolder(options.run_folder)
    if style.encoder == "vgg19":
        raise ConfigError("--run gives an encoder and so does --encoder vgg19: leave one of them out")
    check_keys(options.set, _RUN_KEYS, "with --run the run decides; open are {}")
    config = folder.read_config(options.set)
    if not options.trust:
        config = only_read(config, f"the run {folder.path}", options.set)
    folder.check_recorded()
    if options.data not in (None, config.data.name):
        raise ConfigError(f"--data {options.data}: the run's network was trained on {config.data.name}")
    return config, folder


def _picture(out: Path) -> Path:
    return out.with_suffix(".png")


def _draw(config: Config, out: Path) -> None:
    """Draw the first test images in each other's styles."""
    from alignmixup import data
    from alignmixup.figures.style_grid import draw_style_grid
    from alignmixup.models.style_autoencoder import load_style_autoencoder
    from alignmixup.normalization import Normalization
    from alignmixup.training.build import load_data

    dataset = load_data(config, progress=False)
    test = data.build_loaders(dataset, batch_size=_FIGURE_IMAGES, augment=None, workers=0)[1]
    x, _ = next(iter(test))
    images = Normalization.of(dataset.mean, dataset.std).undo(x)
    draw_style_grid(load_style_autoencoder(out), images, _picture(out))
