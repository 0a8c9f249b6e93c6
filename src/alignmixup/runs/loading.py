"""Find a trained network: a run folder, or a model by name with weights from elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any, cast

from alignmixup.near import alternatives
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.options.base import check_arguments
from alignmixup.runs.options.network import NetworkChoice
from alignmixup.runs.run import OF_ANYBODY, Run
from alignmixup.training.config import Config
from alignmixup.training.config_file import DEFAULT, ConfigError
from alignmixup.training.config_file import load as load_config
from alignmixup.training.foreign import only_read
from alignmixup.training.meaning import FREE_KEYS
from alignmixup.training.overrides import agreed, check_keys

# how the test images of a set are shown whose classes others took new pictures of: side and normalisation
_SHOWN = {"cifar10": (32, "cifar10"), "cifar100": (32, "cifar10"), "tiny-imagenet": (64, "cifar10")}
_SHOWN |= dict.fromkeys(OF_ANYBODY, (224, "imagenet"))
_RUN_KEYS = (*FREE_KEYS, "train.precision", "train.channels_last")


def load(
    target: str | Path,
    *,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Run:
    """Find a trained network. Nothing heavy is loaded before it is asked for.

    A run folder is data: no code that it names runs, and nothing is fetched because it says so. ``trust`` allows both;
    see docs/security.md.

    Args:
        target: run folder; or as a text, the name of a model that ``models.build`` knows.
        overrides: such as ``data.root=DIR`` and ``train.device=cpu``; of a run, where it computes and nothing else.
        options: those of `NetworkChoice`, such as ``data``, ``checkpoint``, ``mean``, ``std``, ``labels`` and
            ``trust``.

    Raises:
        ConfigError: neither run nor model, a key that cannot be changed, weights or data that are not named, an option
            of a model for a run, or a run of outside modules without ``trust``.
        ValueError: a configuration that is not the record's, no such library, module or function, an option out of
            range, a label map that is none.
        FileNotFoundError: no weights or label map there.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> record = runs.train("digits/mixup", "runs/quick", overrides=quick)
        >>> run = runs.load("runs/quick")
        >>> run.model(run.images([0, 1])[0]).shape
        torch.Size([2, 10])
    """
    check_arguments(target=target, overrides=overrides)
    folder, choice = RunFolder(Path(target)), NetworkChoice(**options)
    overrides = choice.beside(overrides)
    if isinstance(target, Path) or folder.config.is_file():
        folder.check()
        for name in sorted(set(choice.of_a_model) - {"data"}):
            raise ConfigError(
                f"--{name} {choice.of_a_model[name]}: the run {target} shows images as in its training; --{name} is "
                "for a model by name"
            )
        check_keys(overrides, _RUN_KEYS, "an evaluation can change {} alone")
        config = folder.read_config(overrides)
        if choice.root and config.data.name == "digits":
            raise ConfigError(
                f"--root {choice.root}: the run {target} is tested on digits, which need no folder: leave it out; for "
                "the sets of --ood it is --set data.root=DIR"
            )
        if choice.data:
            config = _on_other_images(config, choice, str(target))
            _warn_of_training_images(folder.read_config(()), config, str(target))
        if not choice.trust:
            config = only_read(config, f"the run {folder.path}", overrides)
        folder.check_recorded()
        file = Path(choice.checkpoint) if choice.checkpoint else folder.weights_named(choice.weights)
        return Run(str(folder.path), config, _existing(file), folder, choice)
    from alignmixup import models
    from alignmixup.models.by_name import check_renormalising

    known = models.available()
    if target not in known and ":" not in target:
        path = Path(target)
        seeds = sorted(str(one.parent) for one in path.parent.glob(f"{escape(path.name)}-seed*/config.toml"))
        seeds = [str(path.parent)] if path.is_file() and (path.parent / "config.toml").is_file() else seeds
        question = f"; did you mean {alternatives(seeds[:3])}?" if seeds else ""
        raise ConfigError(
            f"{target} is no run folder: it has no config.toml; nor is it a model ({', '.join(known)}, "
            f"package.module:function){question}"
        )
    if choice.weights != "last":
        raise ConfigError(f"--weights {choice.weights} is for a run: a model by name has those of --checkpoint alone")
    models.options(target)  # an unknown name is refused before any data are read
    config = _model_config(target, choice.data, overrides)
    if choice.checkpoint is None and not config.model.options.get("pretrained"):
        raise ConfigError(f"{target} has no weights: give --checkpoint FILE or --set model.pretrained=true")
    if choice.crop is not None and config.data.name not in OF_ANYBODY:
        raise ConfigError(f"--crop {choice.crop} is for {alternatives(OF_ANYBODY)}: {config.data.name} is shown whole")
    if choice.checkpoint:
        renormalises = cast("bool | None", config.model.options.get("transform_input"))
        check_renormalising(target, renormalises, source=f"{target} with --checkpoint {choice.checkpoint}")
    run = Run(target, config, _existing(Path(choice.checkpoint)) if choice.checkpoint else None, None, choice)
    run.label_map  # noqa: B018 - a map that is none shows before any data are read
    return run


def as_run(run: Run | str | Path) -> Run:
    """The run itself, or that in a folder.

    Raises:
        TypeError: neither; what `load` raises of a folder that holds none.
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | Path):
        raise TypeError(f"run must be a run folder, or what alignmixup.runs.load(...) gives, got {run!r:.100}")
    return load(run)


def _on_other_images(config: Config, choice: NetworkChoice, target: str) -> Config:
    """The configuration of a run with other test images of its classes, shown as its own are."""
    own, wanted = config.data, str(choice.data)
    if wanted not in OF_ANYBODY or own.name not in _SHOWN or choice.root is None:
        raise ConfigError(
            f"--data {wanted}: the run {target} was trained on {own.name}. Other test images of the same classes are a "
            f"folder of CLASS/IMAGE: --data folder --root DIR, for runs of {', '.join(_SHOWN)}"
        )
    size, normalization = _SHOWN[own.name]
    data = replace(
        own,
        name=wanted,
        image_size=own.image_size or size,
        normalization=normalization if own.normalization == "default" else own.normalization,
        validation=0.0,
        subset=0,
        imbalance=1.0,
        test_split="default",
        download=False,
    )
    return replace(config, data=data)


def _warn_of_training_images(trained: Config, shown: Config, target: str) -> None:
    """Say so where the other images are those of the training: their error is no test error."""
    from alignmixup.data.sets.folder import find_test_split

    if trained.data.name not in OF_ANYBODY:
        return
    own, root = Path(trained.data.root), Path(shown.data.root)
    training = own / "train" if (own / "train").is_dir() else own
    if (root / find_test_split(shown.data.name, root, flat=True)).resolve() == training.resolve():
        warnings.warn(
            f"--root {root} holds the images that {target} was trained on, so that this is no test error: without "
            "--data its own test images are measured",
            stacklevel=3,
        )


def _model_config(name: str, data: str | None, overrides: Sequence[str]) -> Config:
    if data is None:
        raise ConfigError(f"{name} is a model by name: say on which images with --data NAME (and --root DIR)")
    others = [text for text in overrides if not text.strip().startswith(("data.", "model."))]
    check_keys(others, _RUN_KEYS, "the evaluation of a model by name can change data.*, model.* and {}")
    named = agreed(overrides, {"data.name": (f"--data {data}", data), "model.name": (name, name)})
    config = load_config(DEFAULT, ["method.name=baseline", *named])
    given = {text.partition("=")[0].strip() for text in overrides}  # other options are the default configuration's
    options = {key: value for key, value in config.model.options.items() if f"model.{key}" in given}
    return replace(config, model=replace(config.model, options=options))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(
            f"no weights at {file}: the run is not finished, was not asked to keep them (raw: train.ema_decay), or "
            "comes from a version that kept the last ones alone"
        )
    return file
