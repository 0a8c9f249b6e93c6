"""What ``alignmixup evaluate`` measures: the network of a run, or a model by name with weights from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from alignmixup.runs.folder import RunFolder
from alignmixup.training.config_file import DEFAULT, FREE_KEYS, ConfigError, check_keys, load

if TYPE_CHECKING:
    from torch import nn

    from alignmixup.data import ImageData
    from alignmixup.training.config import Config

_RUN_KEYS = (*FREE_KEYS, "train.precision", "train.channels_last")


@dataclass(frozen=True)
class Subject:
    """A network with its circumstances, not loaded yet.

    Attributes:
        name: the run folder or the model's name, as given.
        config: data, model and where to compute.
        weights: file of the weights; None for those that a library publishes.
        method: what a table groups by.
        seed: of the run; None for a model by name.
        folder: the run folder, if it is one.
    """

    name: str
    config: Config
    weights: Path | None
    method: str
    seed: int | None
    folder: Path | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights; empty for published ones."""
        return hashlib.sha256(self.weights.read_bytes()).hexdigest() if self.weights else ""


def find_subject(
    target: str,
    *,
    data: str | None,
    overrides: Sequence[str],
    weights: str = "model",
    checkpoint: Path | None = None,
) -> Subject:
    """Read a RUN or MODEL argument.

    Args:
        target: run folder, or a name that `models.build` knows.
        data: data set of a model by name; a run brings its own.
        overrides: of ``--set``, checked here.
        weights: "model" or "raw" weights of a run.
        checkpoint: file with other weights.

    Raises:
        ConfigError: it is neither, a key cannot be changed, or weights or data are not named.
        ValueError: no such library, module or function.
        FileNotFoundError: no weights there.
    """
    if (Path(target) / "config.toml").is_file():
        return _run(RunFolder(Path(target)), data=data, overrides=overrides, weights=weights, checkpoint=checkpoint)
    from alignmixup import models

    known = models.available()
    if target not in known and ":" not in target:
        raise ConfigError(
            f"{target} is no run folder: it has no config.toml; nor is it a model ({', '.join(known)}, "
            "package.module:function)"
        )
    models.options(target)  # an unknown name is refused before any data are read
    config = _model_config(target, data, overrides)
    if checkpoint is None and not config.model.options.get("pretrained"):
        raise ConfigError(f"{target} has no weights: give --checkpoint FILE or --set model.pretrained=true")
    return Subject(target, config, _existing(checkpoint), target, None, None)


def _run(
    folder: RunFolder, *, data: str | None, overrides: Sequence[str], weights: str, checkpoint: Path | None
) -> Subject:
    if data is not None:
        raise ConfigError(f"--data {data}: the run {folder.path} has its own data; --data is for a model by name")
    check_keys(overrides, _RUN_KEYS, "an evaluation can change {} alone")
    config = folder.read_config(overrides)
    file = checkpoint or (folder.weights if weights == "model" else folder.raw_weights)
    method = config.method.name.rpartition(":")[2]
    return Subject(str(folder.path), config, _existing(file), method, config.train.seed, folder.path)


def _model_config(target: str, data: str | None, overrides: Sequence[str]) -> Config:
    if data is None:
        raise ConfigError(f"{target} is a model by name: say on which images with --data NAME (and --root DIR)")
    tables = ("data.", "model.")
    others = [text for text in overrides if not text.strip().startswith(tables)]
    check_keys(others, _RUN_KEYS, "the evaluation of a model by name can change data.*, model.* and {}")
    return load(DEFAULT, [f"data.name={data}", f"model.name={target}", *overrides])


def _existing(file: Path | None) -> Path | None:
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"no weights at {file}: the run is not finished, or the file is elsewhere")
    return file


def load_model(subject: Subject, dataset: ImageData) -> nn.Module:
    """The network with its weights, on the CPU.

    Raises:
        ConfigError: unknown model or option, or published weights for other classes.
        ValueError: weights of another model, or of one for another number of classes.
    """
    from alignmixup.training.build import build_model, load_model_weights

    model = build_model(subject.config, dataset)
    if subject.weights is None:
        _check_published(subject.config.model.name, model, dataset.num_classes)
    elif subject.folder and subject.weights in (
        RunFolder(subject.folder).weights,
        RunFolder(subject.folder).raw_weights,
    ):
        load_model_weights(subject.weights, model)
    else:
        _load_checkpoint(subject.weights, model, dataset)
    return model


def _load_checkpoint(file: Path, model: nn.Module, dataset: ImageData) -> None:
    """Load a state dict strictly; the usual wrappings of training scripts are taken off."""
    from alignmixup.models.weights import read_weights

    state = {name.removeprefix("module."): value for name, value in read_weights(file).items()}
    own = model.state_dict()
    differing = [name for name, value in state.items() if name in own and value.shape != own[name].shape]
    if differing and all(own[name].shape[:1] == (dataset.num_classes,) for name in differing):
        outputs = state[differing[0]].shape[0]
        raise ValueError(
            f"{file} is a network for {outputs} classes and {dataset.name} has {dataset.num_classes}: its answers "
            "cannot be compared with the labels. Evaluate it on the data it was trained for"
        )
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        raise ValueError(f"{file} does not fit the model: {' '.join(lines[:2])}{more}") from error


def _check_published(name: str, model: nn.Module, classes: int) -> None:
    """Refuse published weights whose head `models.build` had to start afresh."""
    library, colon, library_name = name.partition(":")
    if not colon:
        raise ConfigError(f"the published weights of {name} are without its last layer: give --checkpoint FILE")
    published = classes  # a function of the user's own knows what it loads
    if library == "timm":
        published = getattr(model, "pretrained_cfg", {}).get("num_classes", classes)
    elif library == "torchvision":
        from torchvision.models import get_model_weights

        published = len(get_model_weights(library_name).DEFAULT.meta["categories"])
    if published != classes:
        raise ConfigError(
            f"the published weights of {name} are for {published} classes and the data have {classes}: the last layer "
            "would be random. Train it first, or give --checkpoint FILE"
        )


def recorded(folder: Path | None) -> dict[str, Any] | None:
    """What the run's record says of its error: best, last, mean and median of the last 10 epochs; None without one."""
    if folder is None or not (folder / "record.json").is_file():
        return None
    from alignmixup.runs.record import last_ten, read_record

    record = read_record(folder / "record.json")
    metrics = record["metrics"]
    last10 = last_ten(record["curve"])
    return {
        "best_error_percent": metrics["best_error_percent"],
        "best_epoch": metrics["best_epoch"],
        "last_error_percent": metrics["last_error_percent"],
        "last10_error_percent": fmean(last10),
        "last10_median_error_percent": median(last10),
        "last10_epochs_evaluated": len(last10),
    }
