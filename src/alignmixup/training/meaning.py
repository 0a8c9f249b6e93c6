"""What a configuration means, and in what two of them differ: the one answer for whoever asks.

Asked by runs that are continued, seeds of a row, methods and their baselines, evaluations and reports. Each names in
``but`` what it lets differ, keys or whole tables; a test says for every key what each of them does with a difference.

A configuration is a `Config`, or tables such as a record's ``config``, which may be older than a key or of another
version. Torch is imported only where one names an option of its network or method and the other does not, for the
default. Code outside the package never is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from alignmixup.options import Option, options_of
from alignmixup.outside import is_outside
from alignmixup.training.config import TABLES, Config, OpenTable, to_dict
from alignmixup.training.config_file import toml_value

Tables = Mapping[str, Mapping[str, Any]]
Flat = dict[str, Any]

# Keys that may differ between a run and its continuation: where it computes and what it keeps, not what it finds.
FREE_KEYS = (
    "data.root",
    "data.download",
    "data.workers",
    "train.device",
    "train.threads",
    "train.trackers",
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "evaluation.batch_size",
)
# Beside the keys: which images they are, where the name of the data leaves that open; see `images_of`.
IMAGES = "images"
# In what the runs of one row may differ.
OF_ONE_ROW = (*FREE_KEYS, "train.seed")
# Those of the images (a network of others is refused), whether they are written down or not.
_CHANNELS = "model.in_channels"
_OPEN = tuple(name for name, kind in TABLES.items() if issubclass(kind, OpenTable))


def as_written(config: Config | Tables, *, but: Collection[str] = ()) -> Flat:
    """``table.key`` -> value; options of network and method as they were given, any other key that is not there at its
    default: it is newer than the configuration, and changes nothing at it. Where fractions are taken 100 is 100.0.
    """
    tables = to_dict(config) if isinstance(config, Config) else config
    flat, known = flatten(tables), _known()
    flat |= {name: _listed(key.default) for name, key in known.items() if name not in flat}
    return {
        name: float(value) if type(value) is int and name in known and known[name].type is float else _listed(value)
        for name, value in flat.items()
        if not _named(name, but)
    }


def meaning(config: Config | Tables, *, but: Collection[str] = ()) -> Flat:
    """The whole meaning, ready for JSON, equal for configurations that `differing` finds alike.

    As `as_written`, with every option of network and method, `IMAGES`, no channels, and 1 for 1.0.
    """
    return {name: plain(value) for name, value in _complete(_asked(config, but)).items() if name != _CHANNELS}


def differing(one: Config | Tables, other: Config | Tables, *, but: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Keys in which two configurations differ, with the value of each; None where it says nothing of the key."""
    pair = (_asked(one, but), _asked(other, but))
    found = _unlike(*pair)
    return _unlike(*map(_complete, pair)) if any(None in values for values in found.values()) else found


def same(one: Config | Tables, other: Config | Tables, *, but: Collection[str] = ()) -> bool:
    """Whether they differ in nothing: `differing`, without torch where a key that both have tells."""
    found = _unlike(_asked(one, but), _asked(other, but))
    return all(None in values for values in found.values()) and not (found and differing(one, other, but=but))


def told(found: Mapping[str, tuple[Any, Any]]) -> str | None:
    """The first of what `differing` found, as ``optimizer.lr: 0.1 there, 0.2 now``; None where there is none."""
    for key, values in found.items():
        there, now = ("not set" if value is None else toml_value(value) for value in values)
        return f"{key}: {there} there, {now} now"
    return None


def first_difference(old: Config, new: Config) -> str | None:
    """In what ``new`` is no continuation of ``old``, as `told` says it; None where it is one.

    The number of epochs is free, unless the schedule depends on it (cosine): a run can be made longer. Images may be
    moved. A precision of ``"auto"`` now is whatever it turned out to be there.
    """
    epochs = () if "cosine" in (old.schedule.name, new.schedule.name) else ("train.epochs",)
    return told(differing(old, new.settled(old.train.precision), but=(*FREE_KEYS, IMAGES, *epochs)))


def images_of(name: str, root: str | Path) -> str:
    """Which images a data set's name leaves open, as ``cats#1f0c3a``: a folder's name and six digits of where it lies.

    Empty for a data set whose name tells. Runs with other images are no seeds of one another.
    """
    if name not in ("folder", "imagenet"):
        return ""
    place = Path(root).expanduser().resolve()
    return f"{place.name}#{sha256(str(place).encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def flatten(tables: Tables) -> Flat:
    """``{"train": {"epochs": 20}}`` as ``{"train.epochs": 20}``."""
    return {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}


@cache
def _known() -> dict[str, Option]:
    """The keys of all tables but those of network and method, where a default names one and changes much."""
    tables = {name: kind for name, kind in TABLES.items() if name not in _OPEN}
    return {f"{table}.{key}": item for table, kind in tables.items() for key, item in options_of(kind).items()}


def _named(key: str, but: Collection[str]) -> bool:
    return key in but or key.partition(".")[0] in but


def _asked(config: Config | Tables, but: Collection[str]) -> Flat:
    """As written, and the images."""
    flat = as_written(config)
    images = "" if IMAGES in but else images_of(flat["data.name"], flat["data.root"])
    return {key: value for key, value in flat.items() if not _named(key, but)} | ({IMAGES: images} if images else {})


def _complete(flat: Flat) -> Flat:
    """With every option of network and method; those that it once had, and that meant nothing, are left out."""
    for table in _OPEN:
        if (name := flat.get(f"{table}.name")) is not None:
            options = {key: value for key, value in flat.items() if key.startswith(f"{table}.")}
            given = {key.partition(".")[2]: value for key, value in options.items() if key != f"{table}.name"}
            whole = {f"{table}.{key}": value for key, value in _options(table, name, given).items()}
            gone = options.keys() - whole.keys() - {f"{table}.name"}
            flat = {key: value for key, value in flat.items() if key not in gone} | whole
    return flat


def _options(table: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as given over the defaults of all.

    None of code outside the package, which looking at would run, nor of a name that this version does not know.
    """
    from alignmixup import methods, models

    kept = dict(given)
    if is_outside(name):
        return kept
    try:
        known = models.options(name) if table == "model" else methods.options(name)
    except ValueError:
        return kept
    if table == "method":
        with suppress(ValueError, TypeError):  # of options of another version
            kept = methods.check_options(name, given)
    defaults = {key: _listed(item.default) for key, item in known.items() if f"{table}.{key}" != _CHANNELS}
    return {key: value for key, value in defaults.items() if isinstance(value, bool | int | float | str | list)} | kept


def _unlike(there: Flat, now: Flat) -> dict[str, tuple[Any, Any]]:
    pairs = {key: (there.get(key), now.get(key)) for key in dict.fromkeys([*there, *now])}
    return {
        key: (one, other)
        for key, (one, other) in pairs.items()
        if one != other and not (key == _CHANNELS and None in (one, other))
    }


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def plain(value: Any) -> Any:
    """A value with 1 for 1.0, which mean the same."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
