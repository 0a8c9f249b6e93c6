"""What the numbers of an evaluation depend on, and what tells them from those of others. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup import __version__
from alignmixup.runs.options.evaluation import PARTS, Plan, ood_names
from alignmixup.terminal import errors_only
from alignmixup.training.config import to_dict
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, images_of, meaning

if TYPE_CHECKING:
    from alignmixup.runs.run import Run
    from alignmixup.training.config import Config

FORMAT = 1
_OF_FILES = ("folder", "imagenet", "cub", "tiny-imagenet")


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


def files_of(config: Config, *splits: str) -> dict[str, str]:
    """`ImageData.image_files` of the images of a configuration now, "training" and "test" or those named.

    Empty where its data have none, and where they are not here: what was measured on them stays readable.
    """
    from alignmixup.training.build import load_data

    name = config.data.name
    if name not in _OF_FILES:
        return {}
    try:
        with errors_only("alignmixup.data"):  # they are loaded once more where they are needed
            listed: dict[str, Any] = {} if name == "tiny-imagenet" else {"in_memory": False}
            dataset = load_data(config, progress=False, test_only=splits == ("test",), **listed)
        return dataset.image_files(dataset.image_digests(*splits))
    except FileNotFoundError:
        return {}


def folders_of(sets: Sequence[str]) -> dict[str, str]:
    """Which files the folders among out-of-distribution sets hold now, where they are there."""
    found = {}
    for name in sets:
        kind, _, place = name.partition(":")
        if kind == "folder" and Path(place).is_dir():
            from alignmixup.data.dataset import folder_files
            from alignmixup.data.sets.listing import list_images

            paths, _ = list_images(Path(place))
            found[name] = folder_files(Path(place), [str(path.relative_to(place)) for path in paths])
    return found


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
        "ood": chosen | {"ood": (sets := ood_names(plan.ood, run.config.data.name)), "folders": folders_of(sets)},
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
