"""Read, override, write configurations. Strict: an unknown key is an error that names near ones."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from alignmixup.options import options_of
from alignmixup.training.config import TABLES, Config, OpenTable, OptionValue, Table, to_dict

# Keys that may differ between a run and its continuation: where it computes, not what.
FREE_KEYS = (
    "data.root",
    "data.download",
    "data.workers",
    "train.device",
    "train.threads",
    "train.trackers",
    "evaluation.batch_size",
)

# What commands run when no configuration is named.
DEFAULT = "digits/alignmixup"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file or override, key and value."""


def load(path: str | Path = DEFAULT, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` with ``overrides`` applied.

    An override of ``method.name`` or ``model.name`` drops the options that the file gives to the one it
    names, since they are not the other one's.

    Args:
        path: a TOML file, or the name of a bundled one such as ``digits/cutmix``.
        overrides: ``table.key=value``; the value is written as in TOML, quotes around texts may be left out.

    Raises:
        ConfigError: unknown key, wrong type or value out of range.
        FileNotFoundError: no such file.
    """
    file = find(path)
    return _override(from_dict(_read_toml(file), source=str(file)), overrides)


def find(path: str | Path) -> Path:
    """The file ``path``, or the bundled configuration of that name."""
    file = Path(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; --config takes a TOML file")
    bundled = bundled_folder() / file.with_suffix(".toml")
    if not file.is_absolute() and bundled.is_file():
        return bundled
    names = bundled_names()
    near = difflib.get_close_matches(str(file.with_suffix("")), names, n=3)
    hint = f"did you mean {_or(near)}?" if near else f"bundled configurations are {', '.join(names)}"
    raise FileNotFoundError(f"no configuration file {file}; {hint}")


def bundled_folder() -> Path:
    """Folder of the bundled configurations: inside an installed package, or ``configs/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def bundled_names() -> list[str]:
    """Names of the bundled configurations, such as ``digits/cutmix``."""
    folder = bundled_folder()
    return sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.toml"))


def from_dict(tables: Mapping[str, Any], *, source: str) -> Config:
    """Build a configuration from plain tables; ``source`` names their origin in error messages."""
    built = {}
    for name, values in tables.items():
        if name not in TABLES:
            raise ConfigError(f"{source}: unknown table [{name}]; {_suggest(name, TABLES)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"{source}: {name} must be a table, [{name}] with its keys below it, got {values!r}")
        own, open_options = _split(name, values, source=source)
        cls = TABLES[name]
        built[name] = _construct(cls, own | ({"options": open_options} if open_options else {}), source=source)
    try:
        return Config(**built)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def dump(config: Config) -> str:
    """The configuration as TOML text that `load` reads back to an equal configuration."""
    blocks = []
    for name, values in to_dict(config).items():
        lines = [f"{key} = {_toml_value(value)}" for key, value in values.items()]
        blocks.append("\n".join([f"[{name}]", *lines]) + "\n")
    return "\n".join(blocks)


def first_difference(old: Config, new: Config) -> str | None:
    """The first key outside ``FREE_KEYS`` whose value differs, with both values; None where there is none.

    The number of epochs is free too, unless the schedule depends on it (cosine): a run can be made longer.
    """
    before, after = to_dict(old), to_dict(new)
    free = FREE_KEYS if "cosine" in (old.schedule.name, new.schedule.name) else (*FREE_KEYS, "train.epochs")
    for table in before:
        for key in dict.fromkeys([*before[table], *after[table]]):
            a, b = before[table].get(key), after[table].get(key)
            if a != b and f"{table}.{key}" not in free:
                return f"{table}.{key}: {_shown(a)} there, {_shown(b)} now"
    return None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _override(config: Config, overrides: Sequence[str]) -> Config:
    changed: dict[str, dict[str, Any]] = {}
    for text in overrides:
        source = f"--set {text}"
        key, separator, value = text.partition("=")
        table, dot, name = key.strip().partition(".")
        if not separator or not dot or not name:
            raise ConfigError(f"{source}: expected table.key=value, such as optimizer.lr=0.05")
        if table not in TABLES:
            raise ConfigError(f"{source}: unknown table {table!r}; {_suggest(table, TABLES)}")
        _split(table, {name: None}, source=source)
        changed.setdefault(table, {})[name] = _parse(TABLES[table], name, value.strip(), source=source)
    tables: dict[str, Any] = {
        table: _replace_values(getattr(config, table), values) for table, values in changed.items()
    }
    try:
        return replace(config, **tables)
    except ValueError as error:
        raise ConfigError(f"--set: {error}") from None


def _replace_values(table: Table, values: Mapping[str, Any]) -> Table:
    own, options = _split(table.table_name(), values, source="--set")
    if isinstance(table, OpenTable):
        kept = table.options if own.get("name", table.name) == table.name else {}
        own["options"] = {**kept, **options}
    current = {item.name: getattr(table, item.name) for item in fields(table)}
    return _construct(type(table), current | own, source="--set")


def _parse(cls: type[Table], name: str, text: str, *, source: str) -> Any:
    """A value written on the command line. A key that holds a text takes it with or without quotes."""
    hint = get_type_hints(cls).get(name) if name != "options" else None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if text[:1] in ("[", "{", '"', "'"):
            raise ConfigError(f"{source}: {text!r} is not a TOML value; a list looks like [1, 2]") from None
        return text
    return text if hint is str and not isinstance(value, str) else value


def _split(table: str, values: Mapping[str, Any], *, source: str) -> tuple[dict[str, Any], dict[str, OptionValue]]:
    """The table's own keys, and the options of the named part where the table is open."""
    cls = TABLES[table]
    known = [item.name for item in fields(cls) if item.name != "options"]
    own: dict[str, Any] = {}
    options: dict[str, OptionValue] = {}
    for key, value in values.items():
        if key in known:
            own[key] = value
        elif issubclass(cls, OpenTable):
            options[key] = value
        else:
            elsewhere = [f"{t}.{key}" for t, other in TABLES.items() if key in _keys(other)]
            hint = f"did you mean {_or(elsewhere)}?" if elsewhere else _suggest(key, known, prefix=f"{table}.")
            raise ConfigError(f"{source}: unknown key {table}.{key}; {hint}")
    return own, options


def _construct(cls: type[Table], values: Mapping[str, Any], *, source: str) -> Table:
    hints = get_type_hints(cls)
    ready = {
        key: tuple(value) if isinstance(value, list) and get_args(hints[key]) and key != "options" else value
        for key, value in values.items()
    }
    try:
        return cls(**ready)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{source}: {error}") from None


def _keys(cls: type[Table]) -> list[str]:
    return [name for name, item in options_of(cls).items() if item.help]


def _suggest(name: str, known: Sequence[str] | Mapping[str, Any], *, prefix: str = "") -> str:
    near = [prefix + match for match in difflib.get_close_matches(name, list(known), n=3)]
    listed = "known are " + ", ".join(known)
    return f"did you mean {_or(near)}? ({listed})" if near else listed


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(element) for element in value) + "]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(element)}" for key, element in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    return "not set" if value is None else _toml_value(value)


def check_keys(overrides: Sequence[str], keys: Sequence[str], text: str) -> None:
    """Refuse ``--set`` of a key that a command leaves as it is.

    Args:
        overrides: of ``--set``.
        keys: those that are open.
        text: why, with ``{}`` where the open ones are named.

    Raises:
        ConfigError: another key.
    """
    for override in overrides:
        if override.partition("=")[0].strip() not in keys:
            raise ConfigError(f"--set {override}: {text.format(', '.join(keys))}")
