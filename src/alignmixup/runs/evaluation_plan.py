"""What ``alignmixup evaluate`` is asked to measure, and what the numbers depend on. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alignmixup import __version__
from alignmixup.training.config import to_dict

if TYPE_CHECKING:
    from pathlib import Path

    from alignmixup.evaluation.attacks import Attack
    from alignmixup.runs.network import Subject

FORMAT = 1
DEFAULT_OOD = ("uniform", "gaussian", "digits")  # what needs no files
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
    limit: int = 0
    batch_size: int | None = None
    seed: int = 0


def settings_of(subject: Subject, plan: Plan) -> dict[str, Any]:
    """Everything that the numbers depend on, ready for JSON; equal settings give equal numbers."""
    config = to_dict(subject.config)
    chosen: dict[str, Any] = {"seed": plan.seed, "limit": plan.limit, "parts": sorted({"error", *plan.parts})}
    if "calibration" in plan.parts:
        chosen["bins"] = plan.bins
    if "attacks" in plan.parts:
        chosen |= {"attacks": [asdict(attack) for attack in plan.attacks], "check_images": plan.check_images}
    if "ood" in plan.parts:
        chosen["ood"] = list(plan.ood)
    if "corruptions" in plan.parts:
        folder = str(plan.corruption_folder) if plan.corruption_folder else None
        chosen |= {"kinds": list(plan.kinds), "severities": list(plan.severities), "corruption_folder": folder}
    data = {key: value for key, value in config["data"].items() if key not in ("root", "download", "workers")}
    return {
        **chosen,
        "data": data,
        "model": config["model"],
        "precision": config["train"]["precision"],
        "weights_sha256": subject.fingerprint,
        "version": __version__,
    }
