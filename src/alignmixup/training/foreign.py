"""What a configuration that somebody else wrote may do. Imports no torch.

Opening a run reads data and computes. It imports nothing that is named, fetches nothing, sends nothing and takes no
more than a machine has, unless the user says so. docs/security.md has the table, and a test knows every key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignmixup.outside import is_outside
from alignmixup.training.config import Config, to_dict
from alignmixup.training.config_file import ConfigError

# Keys that do more than choose what is computed, and what that is.
REACHING = {
    "model.name": "imports",
    "method.name": "imports",
    "method.mixers": "imports",
    "data.download": "fetches",
    "model.pretrained": "fetches",
    "method.attention": "fetches",
    "train.trackers": "sends",
    "data.root": "reads",
    "model.weights": "reads",
    "method.autoencoder": "reads",
}
# What would exhaust a machine: the largest number of each that a stranger may ask for, of a table for all its options.
LARGEST = {
    "data.image_size": 4096,
    "train.batch_size": 65536,
    "train.accumulation": 65536,
    "model": 16384,
    "method": 16384,
    "method.class_counts": math.inf,  # they are counted, and nothing is made that large
}
# These change no number: more is taken for so many.
LOWERED = {"data.workers": 16, "evaluation.batch_size": 4096}
_LOCAL_TRACKERS = {"tensorboard"}  # they write into the run folder and nowhere else
_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")  # what `outside.find` takes, and no path of Windows


def refuse_outside(config: Config, source: str) -> None:
    """Refuse a configuration that names code outside this package."""
    for key, name in outside_names(config):
        raise ConfigError(
            f'{source} has {key} = "{name}", code outside this package that would run: if you know it, allow it '
            "with --trust (trust=True)"
        )


def outside_names(config: Config) -> list[tuple[str, str]]:
    """The keys that name code outside this package, and those names, wherever they stand in model and method."""
    found = []
    for table, part in (("model", config.model), ("method", config.method)):
        for key, value in {"name": part.name, **part.options}.items():
            named = [
                text
                for text in _leaves(value)
                if isinstance(text, str) and (key == "name" or _NAME.fullmatch(text)) and is_outside(text)
            ]
            found += [(f"{table}.{key}", text) for text in named]
    return found


def only_read(config: Config, source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of somebody's run, to be measured and looked at: it names no code, fetches nothing and asks for
    nothing that would exhaust the machine, unless the user's own ``overrides``, which are in it, say so.

    Raises:
        ConfigError: it names code outside this package, or has a number above `LARGEST`.
    """
    refuse_outside(config, source)
    tables, own = to_dict(config), _keys(overrides)
    for table, options in tables.items():
        for key, value in options.items():
            largest = LARGEST.get(f"{table}.{key}", LARGEST.get(table, math.inf))
            if f"{table}.{key}" not in own and (found := _largest(value)) > largest:
                raise ConfigError(
                    f"{source} has {table}.{key} = {found}, which may exhaust this machine (more than {largest}): if "
                    "you mean it, allow it with --trust (trust=True)"
                )
    for name, largest in LOWERED.items():
        table, _, key = name.partition(".")
        if name not in own and tables[table][key] > largest:
            config = replace(config, **{table: replace(getattr(config, table), **{key: largest})})
    return config if "data.download" in own else replace(config, data=replace(config.data, download=False))


def trained_on(config: Config, folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of somebody's run, to be trained on in its folder; ``overrides`` as in `only_read`.

    Raises:
        ConfigError: it would run code, send numbers, fetch weights, or write through a link out of the folder.
    """
    source = f"the run {folder}"
    config = only_read(config, source, overrides)
    for tracker in sending(config) if "train.trackers" not in _keys(overrides) else ():
        raise ConfigError(
            f'{source} has train.trackers = ["{tracker}"], which sends numbers and configuration to a server: allow '
            "it with --trust, or leave it out with --set train.trackers=[]"
        )
    for name in config.train.trackers:
        if (folder / name).is_symlink():
            raise ConfigError(f"{folder / name} is a link out of the run folder: remove it, or allow it with --trust")
    if config.model.options.get("pretrained") and not (folder / "checkpoint.pt").is_file():
        raise ConfigError(
            f"{source} has no checkpoint yet and model.pretrained = true, which fetches published weights: allow it "
            "with --trust"
        )
    if isinstance(attention := config.method.options.get("attention"), str):
        raise ConfigError(
            f'{source} has method.attention = "{attention}", a network whose published weights are fetched: allow it '
            "with --trust"
        )
    return config


def sending(config: Config) -> list[str]:
    """The trackers that send something away."""
    return [name for name in config.train.trackers if name not in _LOCAL_TRACKERS]


def _keys(overrides: Sequence[str]) -> set[str]:
    return {text.partition("=")[0].strip() for text in overrides}


def _largest(value: Any) -> int:
    return max((abs(one) for one in _leaves(value) if isinstance(one, int)), default=0)


def _leaves(value: Any) -> Iterator[Any]:
    """What stands in nested tables and lists."""
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    else:
        yield value
