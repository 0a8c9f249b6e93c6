"""From declared options to arguments of a command, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from alignmixup.options import Option, options_of
from alignmixup.training.config import TABLES, OpenTable

if TYPE_CHECKING:
    from alignmixup.runs import Run

_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


def lower_first(sentence: str) -> str:
    """The first line of a docstring as help has it: without capital and full stop."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def add_options(parser: argparse._ActionsContainer, cls: type) -> None:
    """Add every option of a dataclass; `given` takes them back."""
    for item in options_of(cls).values():
        flag = f"--{item.name.replace('_', '-')}"
        text = item.help or "" if item.texts else item.meaning
        if item.default not in (None, "") and item.default is not False:
            text += f" (default: {'yes' if item.default is True else item.default})"
        settings: dict[str, Any] = {"default": item.default, "help": text.replace("%", "%%")}
        kinds = [get_origin(kind) or kind for kind in get_args(item.type) or (item.type,)]
        if item.type is bool:
            settings["action"] = argparse.BooleanOptionalAction if item.default else "store_true"
        elif item.texts:
            settings["choices"] = item.texts
        else:
            settings["type"] = next(kind for kind in (Path, str, float, int) if kind in kinds)
            settings["metavar"] = _METAVARS[settings["type"]]
            if Sequence in kinds and types.NoneType in kinds:
                settings["action"] = "append"
        parser.add_argument(flag, **settings)


def given(options: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The values of the options of a dataclass."""
    return {name: getattr(options, name) for name in options_of(cls)}


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override configuration keys, such as --set train.epochs=5 method.alpha=2",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import the modules outside this package that a run's configuration names; they can do anything",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--weights``."""
    parser.add_argument(
        "--weights",
        choices=("last", "best", "raw", "model"),
        default="last",
        metavar="last|best|raw",
        help="of a run: of the last epoch; of the epoch with the lowest error (on the test set, unless data.validation "
        "held images out); or before averaging (ema_decay) (default: last)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run whose network a command draws at work, and where its data are."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder of a trained network")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data, if not that of the run")
    add_trust(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: auto)")


def load_run(options: argparse.Namespace, *, device: str, weights: str = "last") -> Run:
    """The run that was named."""
    from alignmixup import runs

    root = [f"data.root={options.data_root}"] if options.data_root else []
    return runs.load(options.folder, overrides=[*root, f"train.device={device}"], weights=weights, trust=options.trust)


class CommandParser(argparse.ArgumentParser):
    """Parser of one command, whose help may end in a text that is made (with torch loaded) only when asked for."""

    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Return the help text."""
        text = super().format_help()
        return text if self.ending is None else f"{text}\n{self.ending()}"


def list_keys() -> str:
    """Every key with its default and meaning, as the end of a help text."""
    formatter = argparse.HelpFormatter(prog="")
    formatter.add_text("Configuration keys, for --set KEY=VALUE or as [table] and key in a TOML file:")
    for name, cls in TABLES.items():
        _add_section(formatter, name, f"[{name}]", (cls.__doc__ or "").splitlines()[0], options_of(cls))
        if issubclass(cls, OpenTable):
            _add_section(formatter, name, *_open_options(name))
    return formatter.format_help()


def _add_section(
    formatter: argparse.HelpFormatter, table: str, title: str, text: str, known: Mapping[str, Option]
) -> None:
    formatter.start_section(title)
    formatter.add_text(text)
    for key, item in known.items():
        if item.help:
            meaning = item.meaning.replace("%", "%%")
            formatter.add_argument(argparse.Action([], f"{table}.{key}={item.written}", help=meaning))
    formatter.end_section()


def _open_options(table: str) -> tuple[str, str, Mapping[str, Option]]:
    """Title, text and options of the default method or model; others have their own."""
    from alignmixup import methods, models

    if table == "method":
        name, known = "alignmixup", methods.options("alignmixup")
        others = "`alignmixup methods NAME` lists those of the others"
    else:
        name, known = "preact_resnet18", models.options("preact_resnet18")
        others = "torchvision:NAME and timm:NAME take " + ", ".join(models.options("timm:resnet26d"))
    return f"options of {name}", others, known
