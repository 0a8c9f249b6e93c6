"""What the numbers of an evaluation depend on, and what tells them from those of others. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alignmixup import __version__
from alignmixup.runs.options.evaluation import PARTS, Plan, ood_names
from alignmixup.training.config import to_dict
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, images_of, meaning

if TYPE_CHECKING:
    from alignmixup.runs.run import Run

FORMAT = 1


def configuration_of(run: Run) -> dict[str, Any]:
    """What runs that differ by their seed alone have in common, ready for JSON.

    Under ``data.root`` stands which images a run was trained on, where the name of its data leaves that open.
    """
    trained_on = own_images(run)
    return meaning(run.config, but=(*OF_ONE_ROW, IMAGES)) | ({"data.root": trained_on} if trained_on else {})


def own_images(run: Run) -> str:
    """`images_of` what a run was trained and tested on, whatever is shown to it now; of a model what it is shown."""
    data = (run.folder.read_config() if run.folder else run.config).data
    return images_of(data.name, data.root)


def circumstances_of(run: Run) -> dict[str, Any]:
    """What tells a run's results from those of others, as the results have it, before anything is measured."""
    data = run.config.data
    return {
        "run": run.name,
        "method": run.method,
        "seed": run.seed,
        "data": data.name,
        "configuration": configuration_of(run),
        "settings": {"images": images_of(data.name, data.root)},
    }


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
        "representation": chosen,
        "attacks": chosen | {"attacks": [asdict(attack) for attack in plan.attacks], "check_images": plan.check_images},
        "ood": chosen | {"ood": ood_names(plan.ood, run.config.data.name)},
        "corruptions": chosen
        | {"kinds": list(plan.kinds), "severities": list(plan.severities), "corruption_folder": folder},
    }
    data = {key: value for key, value in config["data"].items() if key not in ("root", "download", "workers")}
    data |= run.shown
    return {
        "parts": {part: parts[part] for part in PARTS if part == "error" or part in plan.parts},
        "images": images_of(run.config.data.name, run.config.data.root),
        "data": data,
        "model": config["model"],
        "precision": config["train"]["precision"],
        "weights_sha256": run.fingerprint,
    }
