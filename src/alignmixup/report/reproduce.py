"""The command that makes a run again; its configuration: a name, and what distinguishes it from others."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from alignmixup.training.bundled import bundled_names
from alignmixup.training.config import TABLES, OpenTable, to_dict
from alignmixup.training.config_file import ConfigError, dump, from_dict, load
from alignmixup.training.meaning import FREE_KEYS, OF_ONE_ROW, Flat, as_written, flatten
from alignmixup.training.overrides import override_value

if TYPE_CHECKING:
    from alignmixup.report.collect import Run

# Keys that came when hashes had been published, at the values that change nothing: hashes leave them out.
_LATER: Flat = {"data.imbalance": 1.0}


def command_for(run: Run) -> str:
    """The `alignmixup train` that means the same: the nearest bundled configuration and the keys that differ."""
    wanted, method = as_written(run.config), run.config["method"]["name"]
    outside = ":" in method  # which no bundled file is of: that without mixing has no options, which could stay
    program = "python -m alignmixup" if outside else "alignmixup"  # which finds modules of the current folder
    root = [] if run.data == "digits" else ["data.root=DIR"]
    for name in _candidates(wanted, "baseline" if outside else method, run.data):
        settings = [f"{key}={override_value(wanted[key])}" for key in _to_set(wanted, _bundled(name))]
        if _gives(name, settings, wanted):
            chosen = [*root, *settings]
            options = f" --set {' '.join(shlex.quote(text) for text in chosen)}" if chosen else ""
            return f"{program} train --config {name}{options}"
    return f"alignmixup train --config {shlex.quote(f'{run.label}.toml')}  # its text is below"


def config_hash(run: Run) -> str:
    """Twelve digits that runs share if their configurations mean the same; seed and what `FREE_KEYS` names aside.

    Hashes are published, so an option written 1 in place of 1.0, or at its default, keeps its own; `same` compares.
    """
    known = as_written(run.config, but=OF_ONE_ROW).items()
    kept = {key: value for key, value in known if key not in _LATER or value != _LATER[key]}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def config_text(run: Run) -> str:
    """The whole configuration as TOML."""
    try:
        return dump(from_dict(run.config, source=str(run.path)))
    except ConfigError:  # of a version with other keys
        return "\n".join(f"{key} = {value!r}" for key, value in flatten(run.config).items())


def split_keys(runs: Sequence[Run]) -> tuple[list[str], Flat]:
    """Keys whose values differ between the runs, and the keys and values that all share; seed and places aside."""
    flat = [as_written(run.config, but=OF_ONE_ROW) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
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


def _candidates(wanted: Flat, method: str, data: str) -> Iterator[str]:
    """Bundled files to begin with, near ones first: of method, data and network, of the method, without mixing."""
    named = [name for name in bundled_names() if name.endswith(f"/{method}")]
    here = [name for name in named if name.startswith(f"{data}/")]
    own = [name for name in here if _bundled(name)["model.name"] == wanted["model.name"]]
    plain = [name for name in bundled_names() if name.endswith("/baseline") and name.startswith(f"{data}/")]
    for group in (own, [*here, *named], plain):
        yield from sorted(group, key=lambda name: len(_to_set(wanted, _bundled(name))))


def _to_set(wanted: Flat, bundled: Flat) -> list[str]:
    """The keys that ``--set`` has to give; those of no effect on the result are left out."""
    kept = _kept(wanted, bundled)
    return [key for key in wanted if key not in FREE_KEYS and (key not in kept or wanted[key] != bundled[key])]


def _gives(name: str, settings: Sequence[str], wanted: Flat) -> bool:
    """Whether they give what is wanted: an option that a file gives cannot be taken back, nor a later key be set."""
    try:
        given = as_written(load(name, settings), but=FREE_KEYS)
    except ConfigError:
        return False
    return given == {key: value for key, value in wanted.items() if key not in FREE_KEYS}
