"""The run by whose errors a mean corruption error divides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignmixup.evaluation.corruptions.mean_error import chosen_corruptions, mean_corruption_error
from alignmixup.records import EVALUATION_FILE, read_evaluation
from alignmixup.runs.options.evaluation import Plan
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import circumstances_of
from alignmixup.training.config_file import ConfigError


def add_mean_corruption_error(
    runs: Sequence[Run], results: Sequence[dict[str, Any]], plan: Plan, baseline: Path
) -> None:
    """The mCE of the corruptions that were asked for, of which a file may hold more."""
    asked = plan.kinds, plan.severities
    own = [result for run, result in zip(runs, results, strict=True) if _lies_in(baseline, run)]
    reference = (own[0] if own else _read_baseline(baseline))["corruptions"]
    for result in results:
        mce = mean_corruption_error(*(chosen_corruptions(one, *asked) for one in (result["corruptions"], reference)))
        result["corruptions"]["mce"] = {"baseline": str(baseline), **mce}


def check_baseline(runs: Sequence[Run], tested: Sequence[str], plan: Plan, baseline: Path) -> None:
    """Refuse a baseline of other images, or whose corruptions are others than those that will be measured.

    ``tested`` is what `files_of` says of the images of each run.
    """
    stored = next((circumstances_of(run) for run in runs if _lies_in(baseline, run)), None)
    if stored is None:
        stored = _read_baseline(baseline)
        _check_corruptions(stored, plan, baseline)
    for run, files in zip(runs, tested, strict=True):
        own = circumstances_of(run)
        there, here = (one.get("settings", {}).get("images") or one.get("data") for one in (stored, own))
        said = "images" in stored.get("settings", {})  # by files of before it is not
        if own["data"] != stored.get("data", own["data"]) or (said and there != here):
            raise ConfigError(
                f"--baseline {baseline} is of {there}, and {own['run']} of {here}: an mCE needs the same images of both"
            )
        before = stored.get("settings", {}).get("files", files)
        if files and before != files:
            raise ConfigError(
                f"--baseline {baseline} was measured on other images ({before} then, {files} now): evaluate it again "
                "with --overwrite, since an mCE needs the same images of both"
            )


def _check_corruptions(stored: dict[str, Any], plan: Plan, baseline: Path) -> None:
    known, folder = stored["corruptions"], plan.corruption_folder
    asked: dict[str, Any] = {"source": f"folder {folder.name}" if folder else "generated"}
    if not folder:
        there = stored.get("images", plan.limit)
        asked |= {"seed": plan.seed, "images": min(plan.limit or there, there)}
    others = [(key, known[key], value) for key, value in asked.items() if known.get(key, value) != value]
    for key, values in (("kinds", plan.kinds), ("severities", plan.severities)):
        if missing := {*values} - {*known[key]}:
            others.append((key, ", ".join(map(str, known[key])), ", ".join(sorted(map(str, missing)))))
    if others:
        key, before, now = others[0]
        raise ConfigError(
            f"--baseline {baseline} was measured with other {key} ({before}, not {now}): an mCE needs the same "
            "corrupted images of both"
        )


def _lies_in(folder: Path, run: Run) -> bool:
    return run.folder is not None and run.folder.path.resolve() == folder.resolve()


def _read_baseline(baseline: Path) -> dict[str, Any]:
    try:
        errors: dict[str, Any] = read_evaluation(baseline / EVALUATION_FILE)
        errors["corruptions"]  # what is missing shows
    except (OSError, KeyError):
        raise ConfigError(
            f"--baseline {baseline}: no errors under corruptions in {baseline / EVALUATION_FILE}; evaluate it first "
            "with the same --corruptions, or give it as one of the runs"
        ) from None
    return errors
