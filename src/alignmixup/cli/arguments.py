"""From declared options to arguments of a command, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import re
import types
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from alignmixup.options import Option, options_of
from alignmixup.runs.options.network import NetworkChoice
from alignmixup.training.config import TABLES, OpenTable
from alignmixup.training.config_file import ConfigError

if TYPE_CHECKING:
    from alignmixup.runs import Run

_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


class _Join(argparse.Action):
    """Several values as a text with commas; the option may be repeated, and none of them is lost."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Put the values behind those that were given before; the default is none of these."""
        before: dict[str, Any] = vars(namespace).setdefault("_joined", {})
        before[self.dest] = f"{before[self.dest]},{values}" if self.dest in before else values
        setattr(namespace, self.dest, before[self.dest])


def lower_first(sentence: str) -> str:
    """The first line of a docstring as help has it: without capital and full stop."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def plain_text(docstring: str) -> str:
    """A docstring as a terminal shows it: ``:meth:`name``` and double backticks are markup for other readers."""
    return re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", docstring).replace("``", "`")


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
            if {Sequence, tuple} & {*kinds}:  # a text that has commas of its own, with options, is no text with commas
                settings["action"] = "append" if Sequence in kinds and types.NoneType in kinds else _Join
        parser.add_argument(flag, **settings)


def given(options: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The values of the options of a dataclass."""
    return {name: getattr(options, name) for name in options_of(cls)}


def refuse_idle(options: argparse.Namespace, cls: type, why: str, *, but: Collection[str] = ()) -> None:
    """Refuse options of a dataclass that were given and would do nothing, except those named in ``but``."""
    for name, item in options_of(cls).items():
        if name not in but and (value := getattr(options, name)) != item.default:
            said = "" if isinstance(value, bool) else f" {value}"
            raise ConfigError(f"--{name.replace('_', '-')}{said}: {why}")


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
        help="allow what a run names: modules outside this package, which can do anything, and the network",
    )


def add_networks(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add the network or networks that a command is about, and which weights and images those are."""
    parser.add_argument("target", nargs=nargs, metavar="RUN|MODEL", help="run folder, or a model by name")
    add_set(parser)
    group = parser.add_argument_group("which weights, and what a MODEL sees")
    add_options(group, NetworkChoice)
    group.add_argument("--data-root", dest="root", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: auto)")


def load_networks(options: argparse.Namespace, targets: Sequence[str]) -> list[Run]:
    """The networks that were named."""
    from alignmixup import runs

    choice = given(options, NetworkChoice)
    if choice["checkpoint"] and len(targets) > 1:
        raise ConfigError("--checkpoint is for one network: give one RUN or MODEL")
    first: dict[Path, str] = {}
    for target in targets:
        place, name = Path(target).resolve(), str(Path(target))
        if place in first:
            also = "" if first[place] == name else f", also as {name}"
            raise ConfigError(f"{first[place]} is given twice{also}: give it once")
        first[place] = name
    return [runs.load(target, overrides=options.set, **choice) for target in targets]


def load_network(options: argparse.Namespace) -> Run:
    """The network that was named."""
    return load_networks(options, [options.target])[0]


def list_keys() -> str:
    """Every key with its default and meaning, as the end of a help text."""
    formatter = argparse.HelpFormatter(prog="")
    formatter.add_text("Configuration keys, for --set KEY=VALUE or as [table] and key in a TOML file:")
    for name, cls in TABLES.items():
        _add_section(formatter, name, f"[{name}]", (cls.__doc__ or "").splitlines()[0], options_of(cls))
        if issubclass(cls, OpenTable):
            _add_section(formatter, name, *_open_options(name))
    return plain_text(formatter.format_help())


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
