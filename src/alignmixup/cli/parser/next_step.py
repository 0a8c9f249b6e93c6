"""What to do next after each command, in one line."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def next_step(options: argparse.Namespace) -> str:
    """A command that usually follows the one that ended well; empty where nothing does."""
    after = _AFTER.get(options.command)
    return after(options) if after else ""


def _run(path: Any) -> str:
    return shlex.quote(str(path))


def _after_train(options: argparse.Namespace) -> str:
    folder = getattr(options, "trained", None)
    parts = " --what error,calibration,corruptions" if find_spec("cv2") else ""  # corruptions ask for OpenCV
    return f"alignmixup evaluate {_run(folder)}{parts}" if folder else ""


def _after_compare(options: argparse.Namespace) -> str:
    folder = getattr(options, "compared", None)
    return _report([folder] if folder else [])


def _after_picture(command: str) -> Callable[[argparse.Namespace], str]:
    return lambda options: f"alignmixup {command} {_run(options.target)}" if Path(options.target).is_dir() else ""


def _after_evaluate(options: argparse.Namespace) -> str:
    return _report([name for name in options.target if Path(name).is_dir()])


def _after_localize(options: argparse.Namespace) -> str:
    names = [name for name in options.target if Path(name).is_dir()]
    return _report([*names, options.out] if names else [])


def _report(names: Sequence[Any]) -> str:
    return f"alignmixup report {' '.join(map(_run, names))} -o report.html" if names else ""


def _after_methods(options: argparse.Namespace) -> str:
    if options.name is None:
        return "alignmixup methods NAME lists the options of one"
    return "" if ":" in options.name else f"alignmixup train --config digits/{options.name}"


_AFTER: dict[str, Callable[[argparse.Namespace], str]] = {
    "train": _after_train,
    "compare": _after_compare,
    "evaluate": _after_evaluate,
    "localize": _after_localize,
    "gallery": _after_picture("align"),
    "align": _after_picture("gallery"),
    "morph": _after_picture("align"),
    "layers": lambda options: f"alignmixup train --data DIR --model {options.model}" if options.model else "",
    "methods": _after_methods,
    "configs": lambda _: "alignmixup train --config NAME",
    "data": lambda options: getattr(options, "suggested", ""),
    "train-style": lambda options: (
        f"alignmixup train --config cifar100/stylemix --set method.autoencoder={_run(options.out)}"
    ),
}
