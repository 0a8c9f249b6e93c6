"""The command that makes a run again; its configuration: a name, and what distinguishes it from others."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from alignmixup.training.config import TABLES, OpenTable, to_dict
from alignmixup.training.config_file import FREE_KEYS, ConfigError, bundled_names, dump, from_dict, load

if TYPE_CHECKING:
    from alignmixup.report.collect import Run

Flat = dict[str, Any]

_FREE = (*FREE_KEYS, "train.seed")

# Keys that came when hashes had been published, at the values that change nothing: hashes leave them out.
_LATER: Flat = {"data.imbalance": 1.0}


def flatten(config: Mapping[str, Mapping[str, Any]]) -> Flat:
    """``{"train": {"epochs": 20}}`` as ``{"train.epochs": 20}``."""
    return {f"{table}.{key}": value for table, values in config.items() for key, value in values.items()}


def completed(config: Mapping[str, Mapping[str, Any]]) -> Flat:
    """The configuration flat, with keys that are newer than the record at their defaults, which change nothing.

    A whole number is 100.0 where fractions are taken, as 100 means the same.
    """
    known = {
        f"{table}.{key.name}": key
        for table, kind in TABLES.items()
        if table not in ("model", "method")
        for key in fields(kind)
        if key.default is not MISSING
    }
    flat = flatten(config)
    flat |= {
        name: list(key.default) if isinstance(key.default, tuple) else key.default
        for name, key in known.items()
        if name not in flat
    }
    return {
        name: float(value) if type(value) is int and name in known and known[name].type == "float" else value
        for name, value in flat.items()
    }


def meaning(config: Mapping[str, Mapping[str, Any]]) -> Flat:
    """What changes the numbers of a run, equal for configurations that mean the same: 1.0 is 1 in options too.

    The network's channels are those of the images, whether they are written down or not.
    """
    left_out = (*_FREE, "model.in_channels")
    return {name: _plain(value) for name, value in completed(config).items() if name not in left_out}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def command_for(run: Run) -> str:
    """The shortest `alignmixup train` that means the same: a bundled configuration and the keys that differ."""
    wanted = completed(run.config)
    method, data = run.config["method"]["name"], run.data
    outside = ":" in method  # no bundled file is of it: that without mixing, which has no options, and its own
    ending = "/baseline" if outside else f"/{method}"
    named = [name for name in bundled_names() if name.startswith(f"{data}/") and name.endswith(ending)]
    bundled = {name: _bundled(name) for name in named}
    # an option that a bundled file gives cannot be taken back
    settings = {name: _settings(wanted, own) for name, own in bundled.items() if set(own) <= set(wanted)}
    if not settings:
        return f"alignmixup train --config {shlex.quote(f'{run.label}.toml')}  # its text is below"
    name = min(settings, key=lambda name: len(settings[name]))
    root = [] if data == "digits" else ["data.root=DIR"]
    chosen = [*root, *settings[name]]
    options = f" --set {' '.join(shlex.quote(text) for text in chosen)}" if chosen else ""
    program = "python -m alignmixup" if outside else "alignmixup"  # which finds modules of the current folder
    return f"{program} train --config {name}{options}"


def config_hash(run: Run) -> str:
    """Twelve digits that runs share if their configurations mean the same; seed and what `FREE_KEYS` names aside.

    Hashes are published, so an option written 1 in place of 1.0 keeps its own; `meaning` compares.
    """
    known = completed(run.config).items()
    kept = {key: value for key, value in known if key not in _FREE and (key not in _LATER or value != _LATER[key])}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def config_text(run: Run) -> str:
    """The whole configuration as TOML."""
    try:
        return dump(from_dict(run.config, source=str(run.path)))
    except ConfigError:  # of a version with other keys
        return "\n".join(f"{key} = {value!r}" for key, value in flatten(run.config).items())


def split_keys(runs: Sequence[Run]) -> tuple[list[str], Flat]:
    """Keys whose values differ between the runs, and the keys and values that all share; seed and places aside."""
    flat = [flatten(run.config) for run in runs]
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if key not in _FREE]
    differing = [key for key in keys if any(one.get(key) != flat[0].get(key) for one in flat)]
    return differing, {key: flat[0][key] for key in keys if key not in differing}


def _kept(wanted: Flat, bundled: Flat) -> set[str]:
    """Keys of a bundled file that stay: another ``model.name`` or ``method.name`` drops the options given before."""
    renamed = [
        f"{table}."
        for table, kind in TABLES.items()
        if issubclass(kind, OpenTable) and wanted[f"{table}.name"] != bundled[f"{table}.name"]
    ]
    return {key for key in bundled if not key.startswith(tuple(renamed))}


@cache
def _bundled(name: str) -> Flat:
    return flatten(to_dict(load(name)))


def _settings(wanted: Flat, bundled: Flat) -> list[str]:
    """What ``--set`` has to say; keys of no effect on the result are left out."""
    kept = _kept(wanted, bundled)
    differing = [key for key in wanted if key not in FREE_KEYS and (key not in kept or wanted[key] != bundled[key])]
    return [f"{key}={written(wanted[key])}" for key in differing]


def written(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
