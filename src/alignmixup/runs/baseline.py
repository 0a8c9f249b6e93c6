"""Which run without mixing a method is compared with: the one that differs in the method alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignmixup.options import options_of
from alignmixup.runs.folder import option_defaults
from alignmixup.training.config import TABLES
from alignmixup.training.config_file import FREE_KEYS, images_of

# the channels are those of the images, whether they are written down or not
_LEFT_OUT = (*FREE_KEYS, "train.seed", "model.in_channels")

Tables = Mapping[str, Mapping[str, Any]]


def choose_baseline(config: Tables, candidates: Sequence[Tables]) -> int | None:
    """Index of the first candidate that equals ``config`` outside its method, or None.

    Args:
        config: of the method's run, as tables: what `to_dict` makes, or a record's ``config``.
        candidates: those of runs without mixing.
    """
    return next((number for number, one in enumerate(candidates) if not differing(config, one)), None)


def differing(config: Tables, other: Tables) -> list[str]:
    """Keys outside the method in which two runs differ, such as ``optimizer.lr``; ``images`` are those of a folder.

    Seed and free keys aside. A key that one of them lacks has its default: it may be older than the key.
    """
    ours, theirs = surroundings(config), surroundings(other)
    return [key for key in dict.fromkeys([*ours, *theirs]) if ours.get(key) != theirs.get(key)]


def surroundings(config: Tables) -> dict[str, Any]:
    """``table.key`` -> value, of everything that a method and its baseline share; ``images`` as `images_of` has them.

    Equal for runs that `choose_baseline` finds alike.
    """
    found: dict[str, Any] = {}
    for table in TABLES:
        if table != "method":
            values = _defaults(table, config) | dict(config.get(table, {}))
            found |= {f"{table}.{key}": _plain(value) for key, value in values.items() if value is not None}
    images = images_of(found["data.name"], found["data.root"])
    found = {key: value for key, value in found.items() if key not in _LEFT_OUT}
    return found | ({"images": images} if images else {})


def _defaults(table: str, config: Tables) -> dict[str, Any]:
    """Values of keys that a configuration may lack; of the network's options too, unless its code is not ours."""
    found = {key: item.default for key, item in options_of(TABLES[table]).items() if key != "options"}
    if table == "model":
        found |= option_defaults("model", config.get(table, {}).get("name", found["name"]))
    return found


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
