"""Several values of options, as configurations with a label each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, load

_NAMES = ("method.name", "model.name")  # which options there are depends on these


@dataclass(frozen=True)
class Sweep:
    """One key and the values it takes, as written on the command line."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One row of a comparison."""

    label: str
    config: Config
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def surroundings(self) -> dict[str, str]:
        """The swept values that do not belong to the method: equal for a method and its baseline."""
        return {key: value for key, value in self.values.items() if not key.startswith("method.")}


def parse_sweep(text: str) -> Sweep:
    """Read ``table.key=value,value,...``; commas inside brackets and quotes belong to a value."""
    key, separator, listed = text.partition("=")
    values = tuple(value.strip() for value in _split(listed))
    if not separator or "." not in key or not all(values):
        raise ConfigError(f"--sweep {text}: expected table.key=value,value,..., such as method.epsilon=0.05,0.1,1")
    if len(set(values)) < len(values):
        raise ConfigError(f"--sweep {text}: a value stands there twice")
    return Sweep(key.strip(), values)


def expand(files: Iterable[str], *, overrides: Sequence[str] = (), sweeps: Sequence[Sweep] = ()) -> list[Variant]:
    """Every configuration with every combination of the swept values.

    An option of a method is swept in the methods that have it, those that ``method.name`` sweeps in among them; the
    others, such as the baseline, run as they are.

    Raises:
        ConfigError: a key that stands in two sweeps or in none of the configurations, a value that is refused, two
            rows with one label.
    """
    keys = [sweep.key for sweep in sweeps]
    if len(set(keys)) < len(keys):
        raise ConfigError("a key stands in two --sweep; list its values in one")
    for text in overrides:
        if (key := text.partition("=")[0].strip()) in keys:
            raise ConfigError(f"--set {text} and --sweep {key} disagree: leave one of them out")
    variants: list[Variant] = []
    used: set[str] = set()
    for file in files:
        own, now = load(file).method.name, load(file, overrides).method.name
        if own != now and Path(file).stem == own:  # a row goes by the name of its file
            raise ConfigError(
                f"--set method.name={now}: a row that is called {Path(file).stem} would be of {now}; name its own "
                f"configuration, or --sweep method.name={now}"
            )
        found = _combinations(file, overrides, sweeps)
        used.update(key for variant in found for key in variant.values)
        variants += found
    for key in keys:
        if key not in used:
            raise ConfigError(f"--sweep {key}: none of the methods has this option; see `alignmixup methods NAME`")
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two configurations are called {label}; their run folders would be the same")
    return variants


def _combinations(file: str, overrides: Sequence[str], sweeps: Sequence[Sweep]) -> list[Variant]:
    """Every method with the values of the options that it has; which method it is may itself be swept."""
    variants = []
    naming = [sweep for sweep in sweeps if sweep.key in _NAMES]
    for names in itertools.product(*(sweep.values for sweep in naming)):
        named = {sweep.key: name for sweep, name in zip(naming, names, strict=True)}
        config = load(file, [*overrides, *_written(named)])
        concerned = [sweep for sweep in sweeps if sweep.key not in _NAMES and _concerns(sweep.key, config)]
        for chosen in itertools.product(*(sweep.values for sweep in concerned)):
            values = named | {sweep.key: value for sweep, value in zip(concerned, chosen, strict=True)}
            values = {sweep.key: values[sweep.key] for sweep in sweeps if sweep.key in values}
            config = load(file, [*overrides, *_written(values)])
            variants.append(Variant(_label(file, values), config, values))
    return variants


def _written(values: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def _label(file: str, values: Mapping[str, str]) -> str:
    """``alignmixup,epsilon=0.05``: the name of the file and the values, in characters that folders may have."""
    last = [key.rpartition(".")[2] for key in values]
    parts = [
        f"{name if last.count(name) == 1 else key}={re.sub(r'[^A-Za-z0-9.+-]+', '_', value).strip('_')}"
        for name, (key, value) in zip(last, values.items(), strict=True)
    ]
    return ",".join([Path(file).stem, *parts])


def _concerns(key: str, config: Config) -> bool:
    from alignmixup import methods

    table, _, name = key.partition(".")
    if table != "method" or name == "name":
        return True
    # the baseline takes the options that all methods share, such as alpha, and nothing comes of them
    return config.method.name != "baseline" and name in methods.options(config.method.name)


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts
