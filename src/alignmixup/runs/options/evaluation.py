"""What can be measured of a network, and the plan that is made of what is asked. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.figures.save import FigureKind
from alignmixup.near import alternatives, near
from alignmixup.options import option, options_of
from alignmixup.outside import require
from alignmixup.records import EVALUATION_FILE
from alignmixup.runs.options.base import FigureOptions, Listed, listed, whole_path

if TYPE_CHECKING:
    from alignmixup.evaluation.attack_names import AnyAttack

DEFAULT_OOD = ("uniform", "gaussian", "digits")  # what needs no files
DEFAULT_PARTS = ("error", "calibration")
DEFAULT_ATTACKS = ("fgsm", "pgd")
PARTS = ("error", "calibration", "representation", "attacks", "ood", "corruptions")
# What only some parts read of `EvaluationOptions`; those that name what is measured add their part by themselves.
_SAMPLED = ("representation", "attacks", "ood", "corruptions")
_USERS = {
    "bins": ("calibration",),
    "severities": ("corruptions",),
    "checks": ("attacks",),
    "check_images": ("attacks",),
    "limit": _SAMPLED,
    "seed": _SAMPLED,
}


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(FigureOptions):
    """What is measured of a network."""

    what: Listed = option(
        ",".join(DEFAULT_PARTS),
        f"{', '.join(PARTS)} or all, separated by commas; attack, ood, corruptions and baseline add their part by "
        "themselves",
    )
    attack: Listed | None = option(
        None,
        "fgsm, pgd, pgd-l2, autoattack, autoattack-l2, or with options, such as "
        "pgd:epsilon=8/255,step=2/255,iterations=50,restarts=5; may be repeated (default: fgsm and pgd)",
    )
    checks: bool = option(True, "check whether the first attack of several iterations can be believed")
    check_images: int = option(200, "images of these checks", minimum=1)
    ood: Listed = option(
        "",
        "out-of-distribution sets, separated by commas: uniform, gaussian, digits, cifar10, cifar100, "
        f"tiny-imagenet-crop, tiny-imagenet-resize, folder:DIR (default: {','.join(DEFAULT_OOD)})",
    )
    corruptions: Listed = option("", "separated by commas; all adds the extra four (default: CIFAR-C's 15)")
    severities: str | Sequence[int] = option("1,2,3,4,5", "of corruptions")
    corruption_folder: str | Path | None = option(None, "folder of released corrupted images to read, not generate")
    baseline: str | Path | None = option(
        None, f"run folder whose errors the mCE divides by: one of those given, or one with an {EVALUATION_FILE}"
    )
    limit: int = option(
        0,
        "test images for representation, attacks, ood and corruptions, each class in proportion; 0 takes all",
        minimum=0,
    )
    bins: int = option(15, "bins of calibration errors", minimum=1)
    seed: int = option(0, "of noise and of the choice of images")
    batch_size: int | str = option("auto", "images at a time; auto is halved until they fit")


@dataclass(frozen=True)
class Plan:
    """`EvaluationOptions` as they are meant: ``parts`` in their order, attacks and corruptions found by their names.

    ``check_images = 0`` leaves the checks out, ``batch_size = None`` finds one; the error is always measured.
    """

    parts: tuple[str, ...]
    bins: int = 15
    attacks: tuple[AnyAttack, ...] = ()
    check_images: int = 0
    ood: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()
    corruption_folder: Path | None = None
    baseline: Path | None = None
    limit: int = 0
    batch_size: int | None = None
    seed: int = 0
    figures: FigureKind = "png"


def build_plan(**options: Any) -> Plan:
    """Read and check what is asked for, as `EvaluationOptions` explains it, before anything is loaded.

    Raises:
        ValueError: unknown part, attack or kind of corruption (near names are listed), or a value out of range.
        ImportError: corruptions are to be made, and OpenCV is not installed.
    """
    from alignmixup.evaluation.attack_names import parse_attack
    from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS, check_kinds, check_severities

    asked = EvaluationOptions(**options)
    kinds, what = listed(asked.corruptions), listed(asked.what)
    for name in what:
        if name not in ("all", *PARTS):
            raise ValueError(f"--what: unknown part {name!r}; {near(name, (*PARTS, 'all'))}")
    named = {
        "attacks": asked.attack,
        "ood": asked.ood,
        "corruptions": kinds or asked.corruption_folder or asked.baseline,
    }
    attacks = (asked.attack,) if isinstance(asked.attack, str) else asked.attack or DEFAULT_ATTACKS
    batch_size = None if asked.batch_size == "auto" else _whole("batch-size", asked.batch_size)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"--batch-size must be auto or >= 1, got {batch_size}")
    parts = tuple(part for part in PARTS if part in what or named.get(part) or "all" in what)
    _refuse_idle(asked, parts)
    if "corruptions" in parts and not asked.corruption_folder:
        require("cv2", extra="evaluate")  # said before anything is measured
    return Plan(
        parts=parts,
        bins=asked.bins,
        attacks=tuple(parse_attack(text) for text in attacks),
        check_images=asked.check_images if asked.checks else 0,
        ood=tuple(map(placed, listed(asked.ood))),
        kinds=(*KINDS, *EXTRA_KINDS) if kinds == ("all",) else check_kinds(kinds or KINDS),
        severities=check_severities([_whole("severities", value) for value in listed(asked.severities)]),
        corruption_folder=whole_path(asked.corruption_folder) if asked.corruption_folder else None,
        baseline=Path(asked.baseline) if asked.baseline else None,
        limit=asked.limit,
        batch_size=batch_size,
        seed=asked.seed,
        figures=asked.figures,
    )


def _refuse_idle(asked: EvaluationOptions, parts: Sequence[str]) -> None:
    """Refuse options that no part reads that is measured."""
    given = [name for name, known in options_of(EvaluationOptions).items() if getattr(asked, name) != known.default]
    for name, users in _USERS.items():
        if name in given and not {*users} & {*parts}:
            value = getattr(asked, name)
            flag = f"--no-{name}" if value is False else f"--{name.replace('_', '-')} {value}"
            raise ValueError(f"{flag} is for {alternatives(users)}: add it to --what, or leave it out")
    if {"checks", "check_images"} <= {*given}:
        raise ValueError(f"--no-checks and --check-images {asked.check_images}: leave one of them out")


def placed(name: str) -> str:
    """An out-of-distribution set by such a name."""
    kind, _, folder = name.partition(":")
    return f"folder:{whole_path(folder)}" if kind == "folder" and folder else name


def ood_names(asked: Sequence[str], data: str) -> list[str]:
    """The out-of-distribution sets of a plan; without any, those that need no files and are not the data."""
    return list(asked) or [name for name in DEFAULT_OOD if name != data]


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"--{name}: {value!r} is not a whole number") from None
