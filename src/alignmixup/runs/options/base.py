"""What all options have in common, and the arguments beside them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignmixup.figures.save import FigureKind
from alignmixup.options import Option, Options, option
from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.training.config import Config
from alignmixup.training.progress.display import Reporter

Listed = str | Sequence[str]  # several values, as a sequence or a text with commas
SEEN = 100  # of rows, or of columns, in a picture: more than anybody looks at, and hours of drawing


@dataclass(frozen=True)
class Asked(Options):
    """Base of what is asked of a run: options of a command and of the function of `alignmixup.runs` that it calls."""

    def _called(self, name: str) -> str:
        return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class FigureOptions(Asked):
    """How figures are written that lie beside numbers."""

    figures: FigureKind = option("png", "kind of file of the figures")


ARGUMENTS = {  # of the functions of `alignmixup.runs`, beside what is asked: what each may be
    "target": str | Path,
    "config": str | Path | Config,
    "configs": Sequence[str | Path],
    "folder": str | Path | RunFolder | None,
    "out": str | Path | None,
    "overrides": Sequence[str],
    "sweeps": Sequence[str],
    "on": Sequence[str],
    "seeds": int,
    "jobs": int | None,
    "mode": Mode,
    "figures": FigureKind,
    "overwrite": bool,
    "command": str,
    "reporter": Reporter | None,
    "display": Callable[..., Any] | None,
    "progress": Callable[..., Any],
    "bar": Callable[..., Any],
}


def check_arguments(**given: Any) -> None:
    """Refuse arguments that are of another kind, such as a text in place of a list of them, in one sentence.

    Raises:
        TypeError, ValueError: see `Option.check`.
    """
    for name, value in given.items():
        Option(name=name, type=ARGUMENTS[name]).check(value)


def listed(values: str | Sequence[Any]) -> tuple[Any, ...]:
    """Several values, from a sequence or a text with commas."""
    if isinstance(values, str):
        return tuple(part.strip() for part in values.split(",") if part.strip())
    return tuple(values)


def whole_path(folder: str | Path) -> Path:
    """A folder by a name that means the same one from every working directory."""
    return Path(folder).expanduser().resolve()
