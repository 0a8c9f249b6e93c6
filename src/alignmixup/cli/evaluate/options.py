"""Options of ``alignmixup evaluate`` that say what to measure."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alignmixup.runs.evaluation_plan import DEFAULT_OOD, PARTS, Plan

_DEFAULT_PARTS = "error,calibration"
_DEFAULT_ATTACKS = ("fgsm", "pgd")


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Add the options that `build_plan` reads."""
    _add_what(parser.add_argument_group("what to measure").add_argument)
    _add_how(parser.add_argument_group("how").add_argument)


def _add_what(add: Callable[..., Any]) -> None:
    add(
        "--what",
        default=_DEFAULT_PARTS,
        metavar="PARTS",
        help=f"{', '.join(PARTS)} or all, separated by commas (default: %(default)s); --attack, --ood and "
        "--corruptions add their part by themselves",
    )
    add(
        "--attack",
        action="append",
        metavar="ATTACK",
        help="fgsm, pgd, or with options, such as pgd:epsilon=8/255,step=2/255,iterations=50,restarts=5; may be "
        "repeated (default: fgsm and pgd)",
    )
    add(
        "--checks",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check whether the first attack of several iterations can be believed (default: yes)",
    )
    add("--check-images", type=int, default=200, metavar="N", help="images of these checks (default: %(default)s)")
    add(
        "--ood",
        metavar="SETS",
        help="out-of-distribution sets, separated by commas: uniform, gaussian, digits, cifar10, cifar100, "
        f"tiny-imagenet-crop, tiny-imagenet-resize, folder:DIR (default: {','.join(DEFAULT_OOD)})",
    )
    add("--corruptions", metavar="KINDS", help="separated by commas; all adds the extra four (default: CIFAR-C's 15)")
    add("--severities", default="1,2,3,4,5", metavar="LIST", help="of corruptions (default: %(default)s)")
    add("--corruption-folder", type=Path, metavar="DIR", help="released corrupted images to read, not generate")
    add(
        "--baseline",
        type=Path,
        metavar="RUN",
        help="run whose errors the mCE divides by: one of those given, or one with an evaluation.json",
    )


def _add_how(add: Callable[..., Any]) -> None:
    add(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help="test images for attacks, ood and corruptions, each class in proportion (default: all)",
    )
    add("--bins", type=int, default=15, metavar="M", help="bins of calibration errors (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="K", help="of noise and of the choice of images (default: %(default)s)")
    add("--batch-size", default="auto", metavar="N", help="images at a time (default: auto, halved until they fit)")


def build_plan(options: argparse.Namespace) -> Plan:
    """Read and check the options before anything is loaded.

    Raises:
        ValueError: unknown part, attack or kind of corruption (near names are listed), or a value out of range.
    """
    from alignmixup.evaluation.attack_names import parse_attack
    from alignmixup.evaluation.corruptions.strengths import check_severities

    parts = _parts(options)
    for name, value, least in (
        ("limit", options.limit, 0),
        ("bins", options.bins, 1),
        ("check-images", options.check_images, 1),
    ):
        if value < least:
            raise ValueError(f"--{name} must be >= {least}, got {value}")
    return Plan(
        parts=parts,
        bins=options.bins,
        attacks=tuple(parse_attack(text) for text in options.attack or _DEFAULT_ATTACKS),
        check_images=options.check_images if options.checks else 0,
        ood=tuple(_split(options.ood or "")),
        kinds=_kinds(options.corruptions),
        severities=check_severities([_whole("severities", text) for text in _split(options.severities)]),
        corruption_folder=options.corruption_folder,
        limit=options.limit,
        batch_size=_batch_size(options.batch_size),
        seed=options.seed,
    )


def _parts(options: argparse.Namespace) -> tuple[str, ...]:
    asked = set(_split(options.what))
    for name in asked - {"all", *PARTS}:
        near = difflib.get_close_matches(name, PARTS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"--what: unknown part {name!r}.{hint} Known: {', '.join(PARTS)}, all")
    if options.attack:
        asked.add("attacks")
    if options.ood:
        asked.add("ood")
    if options.corruptions or options.corruption_folder or options.baseline:
        asked.add("corruptions")
    return tuple(part for part in PARTS if part in asked or "all" in asked)


def _kinds(text: str | None) -> tuple[str, ...]:
    from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS, check_kinds

    if text is None:
        return KINDS
    return (*KINDS, *EXTRA_KINDS) if text == "all" else check_kinds(_split(text))


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    size = _whole("batch-size", text)
    if size < 1:
        raise ValueError(f"--batch-size must be auto or >= 1, got {size}")
    return size


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--{name}: {text!r} is not a whole number") from None


def _split(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
