"""What ``--set`` says, beside the options of a command that say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alignmixup.training.config import TABLES, OpenTable, OptionValue
from alignmixup.training.config_file import PATHS, ConfigError, at_home, parse_value, toml_value


def agreed(overrides: Sequence[str], options: Mapping[str, tuple[str, OptionValue | None]]) -> list[str]:
    """``overrides`` and behind them what options of a command say of keys, as overrides.

    Args:
        overrides: of ``--set``.
        options: for a key the option as it was typed and the value, as in ``{"data.root": ("--root DIR", "DIR")}``;
            None says nothing.

    Raises:
        ConfigError: both name a key, with different values.
    """
    texts = list(overrides)
    for key, (typed, value) in options.items():
        if value is None:
            continue
        table, _, name = key.partition(".")
        for text in overrides:
            other, _, told = text.partition("=")
            if other.strip() != key:
                continue
            given = parse_value(TABLES[table], name, told.strip(), source=f"--set {text}")
            if _place(key, given) != _place(key, value):
                raise ConfigError(f"{typed} and --set {text} disagree: leave one of them out")
        texts.append(f"{key}={toml_value(value)}")
    return texts


def check_keys(overrides: Sequence[str], keys: Sequence[str], text: str) -> None:
    """Refuse ``--set`` of a key that a command leaves as it is.

    Args:
        overrides: of ``--set``.
        keys: those that are open.
        text: why, with ``{}`` where the open ones are named.
    """
    for override in overrides:
        if override.partition("=")[0].strip() not in keys:
            raise ConfigError(f"--set {override}: {text.format(', '.join(keys))}")


def override_value(value: Any) -> str:
    """A value as ``--set`` reads it back: a text without quotes, unless it would be read as something else."""
    if isinstance(value, str):
        with suppress(ConfigError):
            if parse_value(OpenTable, "", value.strip(), source="") == value:
                return value
    return toml_value(value, comma=",")


def _place(key: str, value: Any) -> Any:
    """A value that two ways of writing a path have in common."""
    return Path(at_home(key, value)).resolve() if key in PATHS and isinstance(value, str) and value else value
