"""What an ``evaluation.json`` already says: what of it answers a question, what stands beside, what would be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alignmixup.records import read_evaluation, read_json
from alignmixup.runs.plan import FORMAT, Plan, settings_of
from alignmixup.runs.run import Run
from alignmixup.training.config_file import ConfigError

Result = dict[str, Any]
_SUMMARY = {"format", "methods", "runs", "settings"}
_WAY_OUT = "--overwrite replaces it, --out takes another file"
_NAMES = {"data": "data", "model": "network", "precision": "precision", "weights_sha256": "weights"}


def compare(run: Run, plan: Plan, file: Path, *, overwrite: bool) -> tuple[Result, Plan]:
    """What a file says of the network of ``run``, which stays, and what is left of ``plan`` to measure.

    Numbers of an older version of this package are measured again. ``overwrite`` leaves all of the plan to measure.

    Raises:
        ConfigError: the file holds something else than an evaluation; or, without ``overwrite``, one of another
            network, or the answer to another question, which measuring would replace.
    """
    stored = _read(file)
    if not stored:
        return {}, plan
    wanted = settings_of(run, plan)
    asked, known = wanted.pop("parts"), stored["settings"].get("parts", {})
    differing = [key for key in wanted if stored["settings"].get(key) != wanted[key]]
    if differing or stored.get("format") != FORMAT:
        if overwrite:
            return {}, plan
        what = f"other {_NAMES[differing[0]]}" if differing else "another version of this package"
        raise ConfigError(f"{file} holds an evaluation of {what} ({stored.get('run')}): {_WAY_OUT}")
    lost = {part: _difference(known[part], asked[part]) for part in asked if part in known}
    for part, difference in lost.items():
        if difference and not overwrite:
            without = ", --what error leaves it out" if part == "calibration" else ""
            raise ConfigError(f"{file} holds {part} with {difference}: {_WAY_OUT}{without}")
    stored = stored | {"run": run.name}  # it may have been measured from another working directory
    if overwrite:
        return stored, plan
    left = plan
    if "attacks" in known and known["attacks"]["version"] == asked.get("attacks", {}).get("version"):
        checked = not plan.check_images or "checks" in stored["attacks"]
        if checked:
            new = tuple(attack for attack in plan.attacks if asdict(attack) not in known["attacks"]["attacks"])
            left = replace(plan, attacks=new, check_images=0)
    parts = [part for part in asked if known.get(part) != asked[part]]
    if "attacks" in parts and not left.attacks:
        parts.remove("attacks")
    return stored, replace(left, parts=tuple(parts))


def merge_attacks(
    stored: Result, known: Mapping[str, Any], new: Result, asked: Mapping[str, Any]
) -> tuple[Result, Any]:
    """Attacks that were measured now beside the stored ones on the same images, and the settings of all of them."""
    if not known or _difference(known, asked):
        return new, asked
    labels = {row["label"] for row in new["attacks"]}
    rows = [row for row in stored["attacks"] if row["label"] not in labels] + new["attacks"]
    checks = {"checks": checks} if (checks := new.get("checks") or stored.get("checks")) else {}
    attacks = [attack for attack in known["attacks"] if attack not in asked["attacks"]] + asked["attacks"]
    images = known["check_images"] or asked["check_images"]
    return {**new, "attacks": rows, **checks}, {**asked, "attacks": attacks, "check_images": images}


def check_summary(file: Path) -> None:
    """Refuse to write the summary of several runs over something else."""
    if file.is_file() and set(_content(file)) != _SUMMARY:
        raise ConfigError(f"--out {file} is there and is no table of several runs: name another file")


def _difference(known: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """How two questions differ, but for what is merged: attacks on the same images stand beside each other."""
    merged = ("version", "check_images", "attacks")
    keys = [key for key in asked if key not in merged and known.get(key) != asked[key]]
    return "; ".join(f"{key} = {known.get(key)}, not {asked[key]}" for key in keys)


def _read(file: Path) -> Result:
    """The evaluation in a file; empty without one."""
    if not file.exists():
        return {}
    stored = _content(file)
    if not isinstance(stored.get("settings"), dict) or "error_percent" not in stored:
        raise ConfigError(f"--out {file} is there and holds no evaluation of a network: name another file")
    return read_evaluation(file)


def _content(file: Path) -> Result:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return {}
