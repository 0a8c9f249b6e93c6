"""Read, override, write configurations. Strict: an unknown key is an error that names near ones."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from alignmixup.files import check_is_file
from alignmixup.near import near
from alignmixup.options import options_of
from alignmixup.training.bundled import bundled_folder, is_part, near_bundled
from alignmixup.training.config import TABLES, Config, OpenTable, OptionValue, Table, to_dict

PATHS = ("data.root", "model.weights", "method.autoencoder")

# What commands run when no configuration is named.
DEFAULT = "digits/alignmixup"

# The only key above the tables: what a file takes its other values from.
BASE = "base"

Tables = dict[str, dict[str, Any]]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file or override, key and value."""


@dataclass(frozen=True)
class _Source:
    """A file, what it says itself, and what it builds on."""

    file: Path
    own: Tables
    bases: tuple[_Source, ...]

    def merged(self) -> Tables:
        """Everything the file says: its bases, later ones over earlier ones, and its own values over them."""
        tables: Tables = {}
        for layer in [*(base.merged() for base in self.bases), self.own]:
            for name, values in layer.items():
                tables[name] = _over(TABLES[name], tables.get(name, {}), values)
        return tables

    def build(self) -> Config:
        """The configuration."""
        try:
            return _build(self.merged())
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self._to_blame(str(error))}: {error}") from None

    def _to_blame(self, complaint: str) -> Path:
        for base in self.bases:
            try:
                _build(base.merged())
            except (ValueError, TypeError) as error:
                if str(error) == complaint:
                    return base._to_blame(complaint)
        return self.file


def load(path: str | Path = DEFAULT, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` with ``overrides`` applied.

    A file gives its own values and takes the others from those that its first line names, as in
    ``base = "cifar100/cutmix"`` or ``base = ["cifar100/cutmix", "mine.toml"]``, where later ones win: a bundled
    configuration, or, where the name ends in ``.toml``, a file (relative to the one that names it). A key that none of
    them gives has its default.

    Another ``method.name`` or ``model.name`` than before, in a file or an override, drops the options that were given
    to the one named before, since they are not the other one's.

    Args:
        path: a TOML file, or the name of a bundled one such as ``digits/cutmix``.
        overrides: ``table.key=value``; the value is written as in TOML, quotes around texts may be left out.

    Raises:
        ConfigError: unknown key, wrong type or value out of range, a base that is not there or goes in a circle.
        FileNotFoundError: no such file.
    """
    return _override(_read(find(path)).build(), overrides)


def load_complete(file: Path, overrides: Sequence[str] = ()) -> Config:
    """As `load`, of a file that has every table, as a run writes it: what is missing is not filled with defaults."""
    source = _read(file)
    if missing := [f"[{name}]" for name in TABLES if name not in source.own]:
        raise ConfigError(
            f"{file} is not the whole configuration of a run: it lacks {', '.join(missing)}; --overwrite starts anew"
        )
    return _override(source.build(), overrides)


def find(path: str | Path) -> Path:
    """The file ``path``, or the bundled configuration of that name."""
    file = Path(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; --config takes a TOML file")
    name = file.as_posix().removesuffix(".toml")
    bundled = bundled_folder() / f"{name}.toml"
    if bundled.is_file() and not is_part(name):
        return bundled
    raise FileNotFoundError(f"no configuration file {file}; {near_bundled(name)}")


def from_dict(tables: Mapping[str, Any], *, source: str) -> Config:
    """Build a configuration from plain tables; ``source`` names their origin in error messages."""
    _check_keys(tables, source=source)
    try:
        return _build(tables)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{source}: {error}") from None


def dump(config: Config) -> str:
    """The configuration as TOML text that `load` reads back to an equal configuration."""
    blocks = []
    for name, values in to_dict(config).items():
        lines = [f"{key} = {toml_value(value)}" for key, value in values.items()]
        blocks.append("\n".join([f"[{name}]", *lines]) + "\n")
    return "\n".join(blocks)


def _read(file: Path, above: tuple[Path, ...] = ()) -> _Source:
    """The file and its bases; ``above`` are the files that it is a base of."""
    tables = _read_toml(file)
    bases = tables.pop(BASE, [])
    names = [bases] if isinstance(bases, str) else bases
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{file}: base must be a name such as "digits/cutmix" or a list of names, got {bases!r}')
    _check_keys(tables, source=str(file))
    chain = (*above, file)
    read = []
    for name in names:
        base = _find_base(name, file)
        if base.resolve() in [one.resolve() for one in chain]:
            circle = " -> ".join(map(str, [*chain, base]))
            raise ConfigError(f"{above[0] if above else file}: base goes in a circle: {circle}")
        read.append(_read(base, chain))
    return _Source(file, tables, tuple(read))


def _find_base(name: str, file: Path) -> Path:
    """The file that ``base = name`` means in ``file``."""
    is_file = name.endswith(".toml")
    base = file.parent / name if is_file else bundled_folder() / f"{name}.toml"
    if base.is_file():
        return base
    known = near_bundled(name.removesuffix(".toml"))
    if is_file:
        raise ConfigError(f"{file}: base {name!r}: there is no {base}; a bundled one has no .toml: {known}")
    raise ConfigError(f"{file}: base {name!r} is no bundled configuration, and a file ends in .toml; {known}")


def _over(cls: type[Table], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` over ``old``. In an open table another ``name`` leaves nothing of the old part's options."""
    if issubclass(cls, OpenTable):
        default = cls().name
        if "name" in new and new["name"] != old.get("name", default):
            return dict(new)
    return {**old, **new}


def _check_keys(tables: Mapping[str, Any], *, source: str) -> None:
    for name, values in tables.items():
        if name not in TABLES:
            raise ConfigError(f"{source}: unknown table [{name}]; {near(name, TABLES)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"{source}: {name} must be a table, [{name}] with its keys below it, got {values!r}")
        for key in values:
            _check_key(name, key, source=source)


def _check_key(table: str, key: str, *, source: str) -> None:
    """Refuse a key that a table lacks; an open one takes any, as an option of the part that it names."""
    known = _own_keys(TABLES[table])
    if key in known or issubclass(TABLES[table], OpenTable):
        return
    elsewhere = [f"{t}.{key}" for t, other in TABLES.items() if key in options_of(other) and key != "options"]
    if key == BASE:
        hint = "base stands above the first [table]"
    elif elsewhere:
        hint = f"did you mean {' or '.join(elsewhere)}?"
    else:
        hint = near(key, known, prefix=f"{table}.")
    raise ConfigError(f"{source}: unknown key {table}.{key}; {hint}")


def _own_keys(cls: type[Table]) -> list[str]:
    return [item.name for item in fields(cls) if item.name != "options"]


def _build(tables: Mapping[str, Mapping[str, Any]]) -> Config:
    """The configuration of tables whose keys are checked."""
    built: dict[str, Any] = {}
    for name, values in tables.items():
        cls = TABLES[name]
        hints, known = get_type_hints(cls), _own_keys(cls)
        own: dict[str, Any] = {}
        options: dict[str, OptionValue] = {}
        for key, given in values.items():
            value = at_home(f"{name}.{key}", given)
            if key not in known:
                options[key] = value
            else:
                own[key] = tuple(value) if isinstance(value, list) and get_args(hints[key]) else value
        built[name] = cls(**own, **({"options": options} if options else {}))
    return Config(**built)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        check_is_file(file)
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of TOML, UTF-8, long numbers, deep lists
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _override(config: Config, overrides: Sequence[str]) -> Config:
    if not overrides:
        return config
    changed: dict[str, dict[str, Any]] = {}
    for text in overrides:
        source = f"--set {text}"
        key, separator, value = text.partition("=")
        table, dot, name = key.strip().partition(".")
        if not separator or not dot or not name:
            raise ConfigError(f"{source}: expected table.key=value, such as optimizer.lr=0.05")
        if table not in TABLES:
            raise ConfigError(f"{source}: unknown table {table!r}; {near(table, TABLES)}")
        _check_key(table, name, source=source)
        changed.setdefault(table, {})[name] = parse_value(TABLES[table], name, value.strip(), source=source)
    tables = to_dict(config)
    for table, values in changed.items():
        tables[table] = _over(TABLES[table], tables[table], values)
    try:
        return _build(tables)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--set: {error}") from None


def parse_value(cls: type[Table], name: str, text: str, *, source: str) -> Any:
    """A value written on the command line. A key that holds a text takes it with or without quotes."""
    hint = get_type_hints(cls).get(name) if name != "options" else None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        if text[:1] in ("[", "{", '"', "'"):
            raise ConfigError(f"{source}: {text!r} is not a TOML value; a list looks like [1, 2]") from None
        return text
    return text if hint is str and not isinstance(value, str) else value


def toml_value(value: Any, comma: str = ", ") -> str:
    """A value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return "[" + comma.join(toml_value(element, comma) for element in value) + "]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + comma.join(f"{key} = {toml_value(element, comma)}" for key, element in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def at_home(key: str, value: Any) -> Any:
    """A value, of a path with ``~`` as the home folder: a shell leaves it in ``--set data.root=~/images``."""
    return os.path.expanduser(value) if key in PATHS and isinstance(value, str) else value
