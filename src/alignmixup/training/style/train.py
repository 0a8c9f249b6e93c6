"""A style autoencoder from data to file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from alignmixup.files import locked, write_atomically
from alignmixup.models.style_autoencoder import StyleAutoencoder, style_file_bytes, vgg19_weights
from alignmixup.training.build import build_model, load_data
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine
from alignmixup.training.progress.display import Reporter
from alignmixup.training.style.config import StyleConfig, unfinished_file
from alignmixup.training.style.trainer import StyleTrainer
from alignmixup.training.weights import load_model_weights

if TYPE_CHECKING:
    from alignmixup.data import ImageData

_NETWORK_OPTIONS = ("width", "variant", "stem_stride", "strides", "in_channels")


def train_style(
    config: Config,
    style: StyleConfig,
    out: Path,
    *,
    weights: Path | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    draw: Callable[[Path], object] = lambda file: None,
) -> dict[str, float]:
    """Train, or continue after an interruption, and write one file that `load_style_autoencoder` reads.

    An unfinished training keeps its state after each epoch beside ``out``, under the ending ``.unfinished``.

    Args:
        config: the data, seed, device and precision; and the network whose first stages encode.
        style: how to train.
        out: the file to write.
        weights: the network's ``model.safetensors``; not for ``encoder = "vgg19"``.
        overwrite: replace a file or an unfinished training that is there, which is refused otherwise.
        reporter: shows progress.
        draw: makes a picture of the file that was written.

    Returns:
        What `StyleTrainer.measure` finds on the test images, and the seconds that this call took.
    """
    begin = time.perf_counter()
    unfinished = unfinished_file(out, overwrite=overwrite)
    with locked(out), closing(Engine(config.train)) as engine:
        if overwrite:
            unfinished.unlink(missing_ok=True)
        if engine.group.world_size > 1:
            raise ValueError("a style autoencoder is trained by one process: start it without torchrun")
        dataset = load_data(config)
        autoencoder = build_autoencoder(config, style, dataset, weights=weights).to(engine.device)
        trainer = StyleTrainer(
            autoencoder,
            style,
            dataset=dataset,
            config=config,
            engine=engine,
            unfinished=unfinished,
            reporter=reporter,
        )
        trainer.fit()
        measured = trainer.finish() | {"seconds": time.perf_counter() - begin}
        write_atomically(out, lambda file: file.write(style_file_bytes(autoencoder, measured)))
        draw(out)
        unfinished.unlink(missing_ok=True)
    return measured


def build_autoencoder(
    config: Config, style: StyleConfig, dataset: ImageData, *, weights: Path | None
) -> StyleAutoencoder:
    """Put a trained encoder and a new decoder together; only the decoder asks for gradients."""
    torch.manual_seed(config.train.seed)
    if style.encoder == "vgg19":
        if dataset.channels != 3:
            raise ConfigError(f"the VGG-19 encoder takes RGB images, and {dataset.name} has {dataset.channels} channel")
        autoencoder = StyleAutoencoder("vgg19")
        autoencoder.encoder.load_torchvision(vgg19_weights())  # type: ignore[operator]
    else:
        if config.model.name != "preact_resnet18":
            raise ConfigError(
                f"the encoder is made of the first stages of a preact_resnet18, and the run has {config.model.name}"
            )
        if weights is None:
            raise ConfigError('encoder = "residual" needs the weights of a trained network')
        network = build_model(config, dataset, start=False)
        load_model_weights(weights, network)
        given = {"in_channels": dataset.channels, **config.model.options}
        settings = {key: given[key] for key in _NETWORK_OPTIONS if key in given}
        settings |= {"stages": style.stages, "mean": list(dataset.mean), "std": list(dataset.std)}
        autoencoder = StyleAutoencoder("residual", settings)
        kept = autoencoder.encoder.state_dict().keys()
        tensors = {name: value for name, value in network.state_dict().items() if name in kept}
        autoencoder.encoder.load_state_dict({**tensors, "scale": torch.ones(style.stages + 1)})
    autoencoder.encoder.requires_grad_(False)
    return autoencoder.eval()
