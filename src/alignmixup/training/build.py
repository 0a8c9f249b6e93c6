"""From a configuration to its parts: data, loaders, model, mixer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from alignmixup import data, methods, models
from alignmixup.modules import evaluation_mode
from alignmixup.seeds import own_stream
from alignmixup.taps.border import unseen_border
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine
from alignmixup.training.weights import misfit

if TYPE_CHECKING:
    from alignmixup.data import ImageData, Loader
    from alignmixup.data.dataset import TestView
    from alignmixup.methods.base import Mixer


def load_data(
    config: Config,
    *,
    progress: bool = True,
    in_memory: bool | None = None,
    test_view: TestView | None = None,
    test_crop: float | None = None,
    test_only: bool = False,
) -> ImageData:
    """The data set of a run. Rank 0 goes first, so that one process downloads and fills caches."""
    options = config.data
    held_out = options.validation
    return data.load(
        options.name,
        root=options.root,
        download=options.download,
        image_size=options.image_size or None,
        subset=options.subset or None,
        imbalance=options.imbalance,
        validation=(held_out if held_out < 1 else int(held_out)) or None,
        normalization=_unless_default(options.normalization),
        test_split=_unless_default(options.test_split),
        in_memory=in_memory,
        test_view=test_view,
        test_crop=test_crop,
        test_only=test_only and not held_out,
        progress=progress,
    )


def build_loaders(
    config: Config, dataset: ImageData, engine: Engine, *, batch_size: int | None = None
) -> tuple[Loader, Loader]:
    """Training and test batches on the engine's device, this process's share of them.

    Args:
        config: the run.
        dataset: its images.
        engine: device and processes.
        batch_size: training images per batch and process, where it is not that of ``config``.
    """
    return data.build_loaders(
        dataset,
        batch_size=batch_size or config.train.batch_size,
        eval_batch_size=config.evaluation.batch_size,
        augment=config.data.augment,
        seed=config.train.seed,
        device=engine.device,
        rank=engine.group.rank,
        world_size=engine.group.world_size,
        drop_last=config.train.drop_last,
        channels_last=config.train.channels_last,
        workers=config.data.workers,
    )


def example_images(config: Config, dataset: ImageData, engine: Engine) -> Tensor:
    """Two test images as the model gets them, the same in every process, from a loader that starts no workers."""
    _, loader = data.build_loaders(
        dataset,
        batch_size=1,
        eval_batch_size=2,
        augment=None,
        device=engine.device,
        channels_last=config.train.channels_last,
        on_device=False,
        workers=0,
    )
    return next(iter(loader))[0]


def build_model(config: Config, dataset: ImageData, *, start: bool = True) -> nn.Module:
    """The network, initialised from ``train.seed``; ``in_channels`` follows the images where it is not given.

    ``start=False`` leaves out published or other weights to start from, for a network that gets its own. It seeds
    torch's global generator of the CPU.
    """
    name = config.model.name
    options = dict(config.model.options) if start else models.without_start(name, config.model.options)
    torch.default_generator.manual_seed(config.train.seed)
    try:
        if "in_channels" in models.options(name):
            given = options.setdefault("in_channels", dataset.channels)
            if given != dataset.channels:
                raise ValueError(
                    f"model.in_channels = {given}, and the images of {dataset.name} have {dataset.channels}: "
                    f"set model.in_channels={dataset.channels}, or leave it out"
                )
        return models.build(name, num_classes=dataset.num_classes, options=options)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:  # torch's, of sizes that no memory holds
        first_line = str(error).partition("\n")[0]
        raise ConfigError(f"[model]: {first_line or type(error).__name__}") from error


def check_takes(config: Config, model: nn.Module, images: Tensor) -> None:
    """Refuse a network that cannot work on images like these, or leaves a part of each out without a word.

    Args:
        config: that of the network.
        model: the network, which stays as it is.
        images: a few, on its device.

    Raises:
        ConfigError: it fails on them, or no logit depends on more than a 32nd of them at one side.
    """
    side, patch = images.shape[-1], config.model.options.get("patch_size")
    ways_out = "set data.image_size to a size that it takes, or model.image_size, where it has that, to theirs"
    try:
        if isinstance(patch, int) and side % patch:
            raise ValueError(f"patches of model.patch_size={patch} do not fill them")
        with torch.no_grad(), evaluation_mode(model), own_stream():
            model(images)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"[model]: {config.model.name} cannot work on images of {side} x {side} pixels ({reason}): {ways_out}"
        ) from error
    allowed = max(1, side // 32)  # convolutions without padding lose a row or so
    if (unseen := unseen_border(model, images, allowed=allowed)) > allowed:
        raise ConfigError(
            f"[model]: {config.model.name} leaves out {unseen} pixels at a side of images of {side} x {side} pixels: "
            f"{ways_out}"
        )


def check_fits(config: Config, dataset: ImageData, weights: Mapping[str, Tensor], source: Path) -> None:
    """Refuse a configured network that these weights do not fit, before it takes memory, which may be all there is.

    Networks of other libraries are as large as their names say.

    Raises:
        ValueError: a name or a shape differs.
    """
    if ":" in config.model.name:
        return
    with torch.device("meta"), own_stream():
        wanted = build_model(config, dataset, start=False).state_dict()
    if differing := misfit(weights, wanted):
        raise ValueError(f"{source} does not fit the model of its configuration: {differing}")


def build_mixer(config: Config, model: nn.Module, dataset: ImageData) -> Mixer:
    """The mixing method for ``model`` and the images of ``dataset``; every process draws its own mixes."""
    try:
        return methods.build(
            config.method.name,
            model=model,
            num_classes=dataset.num_classes,
            mean=dataset.mean,
            std=dataset.std,
            class_counts=dataset.class_counts,
            seed=config.train.seed,
            options=config.method.options,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[method]: {error}") from error


def _unless_default(text: str) -> str | None:
    return None if text == "default" else text
