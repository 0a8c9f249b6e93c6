"""Weights from elsewhere: a checkpoint of any usual wrapping, or those that a library publishes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.training.config_file import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from alignmixup.data import ImageData

_log = logging.getLogger(__name__)


def read_checkpoint(file: Path, key: str | None, expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A state dict without the usual wrappings of training scripts, with the names of ``expected`` if it has them."""
    from alignmixup.models.weights import read_weights

    return _without_wrapper(read_weights(file, key=key), expected)


def outputs_of(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], classes: int) -> int:
    """For how many classes weights are, beside a network for ``classes``, from which they differ in the head alone."""
    differing = [name for name, value in state.items() if name in expected and value.shape != expected[name].shape]
    if differing and all(expected[name].shape[:1] == (classes,) for name in differing):
        return len(state[differing[0]])
    return classes


def load_checkpoint(file: Path, key: str | None, model: nn.Module, dataset: ImageData) -> None:
    """Load a state dict strictly."""
    from alignmixup.training.weights import misfit

    expected = model.state_dict()
    state = read_checkpoint(file, key, expected)
    if (outputs := outputs_of(state, expected, dataset.num_classes)) != dataset.num_classes:
        raise ValueError(
            f"{file} is a network for {outputs} classes and {dataset.name} has {dataset.num_classes}: its answers "
            "cannot be compared with the labels. Evaluate it on the data it was trained for, or say with --labels FILE "
            "which output each class folder is (--labels imagenet: the folders of ImageNet)"
        )
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the model: {misfit(state, expected) or error}") from error


def _without_wrapper(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The names without the attribute under which a larger module held the network, where all of it is below one."""
    if not state.keys().isdisjoint(expected):
        return state
    for attribute in dict.fromkeys(name.partition(".")[0] for name in state):
        below = [name for name in state if name.startswith(f"{attribute}.")]
        inner = {name.removeprefix(f"{attribute}."): state[name] for name in below}
        if inner.keys() == expected.keys() or (len(below) == len(state) and not inner.keys().isdisjoint(expected)):
            return inner
    return state


def published_facts(name: str) -> dict[str, Any]:
    """Classes of a library's published weights, and how images were shown to them; empty where it does not say."""
    library, _, library_name = name.partition(":")
    if library == "timm":
        from timm.models import get_pretrained_cfg

        found = get_pretrained_cfg(library_name)
        if found is None:
            return {}
        seen = {"mean": found.mean, "std": found.std, "size": found.input_size[-1], "crop": found.crop_pct}
        return {"classes": found.num_classes, **seen}
    if library == "torchvision":
        from torchvision.models import get_model_weights

        weights = get_model_weights(library_name).DEFAULT
        shown = weights.transforms()
        seen = {"mean": tuple(shown.mean), "std": tuple(shown.std), "size": shown.crop_size[0]}
        crop = shown.crop_size[0] / shown.resize_size[0]
        return {"classes": len(weights.meta["categories"]), **seen, "crop": crop}
    return {}


def check_published(name: str, dataset: ImageData) -> None:
    """Refuse published weights whose head `models.build` had to start afresh; say where they saw images otherwise."""
    if ":" not in name:
        raise ConfigError(f"the published weights of {name} are without its last layer: give --checkpoint FILE")
    published, classes = published_facts(name), dataset.num_classes
    if published.get("classes", classes) != classes:  # a function of the user's own knows what it loads
        raise ConfigError(
            f"the published weights of {name} are for {published['classes']} classes and the data have {classes}: the "
            "last layer would be random. Train it first, give --checkpoint FILE, or say with --labels FILE which "
            "output each class folder is (--labels imagenet: the folders of ImageNet)"
        )
    seen = {"mean": dataset.mean, "std": dataset.std, "size": dataset.image_size}
    if dataset.test_view == "center" and isinstance(getattr(dataset.test, "root", None), Path):
        seen["crop"] = dataset.test_crop or 224 / 256
    differing = [key for key, value in seen.items() if key in published and not _alike(published[key], value)]
    if differing:
        wanted = " ".join(f"--{key} {_written(published[key])}" for key in ("mean", "std", "size", "crop"))
        _log.warning("%s was published for %s; it sees another %s here", name, wanted, " and ".join(differing))


def _alike(first: Any, second: Any) -> bool:
    return _written(first) == _written(second)


def _written(value: Any) -> str:
    return ",".join(f"{number:.3g}" for number in (value if isinstance(value, list | tuple) else [value]))
