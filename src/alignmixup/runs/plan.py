"""What an evaluation measures, how it is asked for, and what its numbers depend on. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup import __version__
from alignmixup.near import near
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import FREE_KEYS

if TYPE_CHECKING:
    from alignmixup.evaluation.attacks import Attack
    from alignmixup.runs.run import Run

FORMAT = 1
FILE = "evaluation.json"
DEFAULT_OOD = ("uniform", "gaussian", "digits")  # what needs no files
DEFAULT_PARTS = ("error", "calibration")
DEFAULT_ATTACKS = ("fgsm", "pgd")
PARTS = ("error", "calibration", "attacks", "ood", "corruptions")
CONVENTIONS = {
    "error": "arg-max of the logits in evaluation mode, no mixing; equal logits: the lower class",
    "weights": "those in the file named, by default of the last epoch; best and last-10 errors are the run's record",
    "calibration": "equal-width bins (lo, hi]; soft-max in float64; errors times 100; adaptive: equal mass; "
    "temperature fitted on the images at even places, measured on the others",
    "attacks": "maximum norm, white box, true label, cross-entropy, evaluation mode, float32; epsilon and step in "
    "units of pixels in [0, 1], before normalisation; every image attacked; error after the last iteration",
    "corruptions": "mean over kinds of the mean over severities; mCE only against a named baseline",
}


@dataclass(frozen=True)
class Plan:
    """What to measure and how.

    Attributes:
        parts: of "error", "calibration", "attacks", "ood", "corruptions"; the error is always measured.
        bins: of the calibration errors.
        attacks: which.
        check_images: images that the attack is checked on; 0 leaves the checks out.
        ood: out-of-distribution sets; empty for those of `DEFAULT_OOD` that the network was not trained on.
        kinds: of corruptions.
        severities: of corruptions.
        corruption_folder: released corrupted images; None generates them.
        baseline: run folder whose errors under corruptions the mCE divides by; None leaves it out.
        limit: test images for attacks, out-of-distribution sets and corruptions; 0 takes all.
        batch_size: images at a time; None finds one.
        seed: of the choice of images, random starts, noise and corruptions.
    """

    parts: tuple[str, ...]
    bins: int = 15
    attacks: tuple[Attack, ...] = ()
    check_images: int = 0
    ood: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()
    corruption_folder: Path | None = None
    baseline: Path | None = None
    limit: int = 0
    batch_size: int | None = None
    seed: int = 0


def build_plan(
    *,
    what: str | Sequence[str] = DEFAULT_PARTS,
    attack: str | Sequence[str] | None = None,
    checks: bool = True,
    check_images: int = 200,
    ood: str | Sequence[str] = (),
    corruptions: str | Sequence[str] = (),
    severities: str | Sequence[int] = (1, 2, 3, 4, 5),
    corruption_folder: str | Path | None = None,
    baseline: str | Path | None = None,
    bins: int = 15,
    limit: int = 0,
    seed: int = 0,
    batch_size: int | str = "auto",
) -> Plan:
    """Read and check what is asked for, as the options of ``alignmixup evaluate`` ask, before anything is loaded.

    Several values are a sequence or, as on the command line, a text with commas. Naming attacks, out-of-distribution
    sets, corruptions or a baseline adds their part to ``what``.

    Args:
        what: of "error", "calibration", "attacks", "ood", "corruptions", or "all".
        attack: one or a sequence of "fgsm", "pgd", "pgd:epsilon=8/255,iterations=50"...; None for fgsm and pgd.
        checks: check whether the first attack of several iterations can be believed.
        check_images: images of these checks.
        ood: out-of-distribution sets, such as "uniform" or "folder:DIR"; none for the default ones.
        corruptions: their kinds, or "all"; none for CIFAR-C's 15.
        severities: of corruptions, from 1 to 5.
        corruption_folder: released corrupted images to read.
        baseline: run folder whose errors the mCE divides by: of one of the runs, or evaluated before.
        bins: of calibration errors.
        limit: test images of the slow parts, each class in proportion; 0 for all.
        seed: of noise and of the choice of images.
        batch_size: images at a time, or "auto".

    Raises:
        ValueError: unknown part, attack or kind of corruption (near names are listed), or a value out of range.
    """
    from alignmixup.evaluation.attack_names import parse_attack
    from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS, check_kinds, check_severities

    for name, value, least in (("limit", limit, 0), ("bins", bins, 1), ("check-images", check_images, 1)):
        if value < least:
            raise ValueError(f"--{name} must be >= {least}, got {value}")
    kinds = _listed(corruptions)
    attacks = (attack,) if isinstance(attack, str) else attack or DEFAULT_ATTACKS
    added = {"attacks": attack, "ood": ood, "corruptions": kinds or corruption_folder or baseline}
    return Plan(
        parts=_parts(_listed(what), [part for part, asked in added.items() if asked]),
        bins=bins,
        attacks=tuple(parse_attack(text) for text in attacks),
        check_images=check_images if checks else 0,
        ood=_listed(ood),
        kinds=(*KINDS, *EXTRA_KINDS) if kinds == ("all",) else check_kinds(kinds or KINDS),
        severities=check_severities([_whole("severities", value) for value in _listed(severities)]),
        corruption_folder=Path(corruption_folder) if corruption_folder else None,
        baseline=Path(baseline) if baseline else None,
        limit=limit,
        batch_size=_batch_size(batch_size),
        seed=seed,
    )


def _parts(asked: Sequence[str], added: Sequence[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in ("all", *PARTS):
            raise ValueError(f"--what: unknown part {name!r}; {near(name, (*PARTS, 'all'))}")
    return tuple(part for part in PARTS if part in (*asked, *added) or "all" in asked)


def _batch_size(value: int | str) -> int | None:
    if value == "auto":
        return None
    size = _whole("batch-size", value)
    if size < 1:
        raise ValueError(f"--batch-size must be auto or >= 1, got {size}")
    return size


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"--{name}: {value!r} is not a whole number") from None


def _listed(values: str | Sequence[Any]) -> tuple[Any, ...]:
    """Several values, from a sequence or a text with commas."""
    if isinstance(values, str):
        return tuple(part.strip() for part in values.split(",") if part.strip())
    return tuple(values)


def configuration_of(run: Run) -> dict[str, Any]:
    """What runs that differ by their seed alone have in common, ready for JSON."""
    flat = {f"{table}.{key}": value for table, own in to_dict(run.config).items() for key, value in own.items()}
    return {key: value for key, value in flat.items() if key not in (*FREE_KEYS, "train.seed")}


def settings_of(run: Run, plan: Plan) -> dict[str, Any]:
    """Everything that the numbers depend on, ready for JSON; equal settings give equal numbers.

    What all parts depend on stands for itself, and under "parts" what each of those that are asked for depends on too.
    """
    config = to_dict(run.config)
    folder = str(plan.corruption_folder) if plan.corruption_folder else None
    chosen = {"seed": plan.seed, "limit": plan.limit, "version": __version__}
    parts: dict[str, dict[str, Any]] = {
        "error": {"version": __version__},
        "calibration": {"bins": plan.bins, "version": __version__},
        "attacks": chosen | {"attacks": [asdict(attack) for attack in plan.attacks], "check_images": plan.check_images},
        "ood": chosen | {"ood": list(plan.ood)},
        "corruptions": chosen
        | {"kinds": list(plan.kinds), "severities": list(plan.severities), "corruption_folder": folder},
    }
    data = {key: value for key, value in config["data"].items() if key not in ("root", "download", "workers")}
    return {
        "parts": {part: parts[part] for part in PARTS if part == "error" or part in plan.parts},
        "data": data,
        "model": config["model"],
        "precision": config["train"]["precision"],
        "weights_sha256": run.fingerprint,
    }
