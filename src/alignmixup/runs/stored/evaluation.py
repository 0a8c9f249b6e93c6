"""What an ``evaluation.json`` already says: what of it answers a question, what stands beside, what would be lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alignmixup.evaluation.corruptions.mean_error import chosen_corruptions
from alignmixup.evaluation.corruptions.strengths import in_order
from alignmixup.records import read_evaluation, read_json
from alignmixup.runs.options.base import whole_path
from alignmixup.runs.options.evaluation import Plan, ood_names, placed
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import FORMAT, configuration_of, folders_of, own_images, settings_of
from alignmixup.training.config_file import ConfigError
from alignmixup.training.meaning import IMAGES, differing

Result = dict[str, Any]
_SUMMARY = {"format", "methods", "runs", "settings"}
_WAY_OUT = "--overwrite replaces it, --out takes another file"
_MARKS = (b'"settings"', b'"top5_error_percent"')  # an evaluation has both in its text, and no other file has
_NAMES = {
    "images": "images",
    "files": "images",
    "data": "data",
    "model": "network",
    "precision": "precision",
    "weights_sha256": "weights",
}


def compare(run: Run, plan: Plan, file: Path, tested: str, *, overwrite: bool) -> tuple[Result, Plan]:
    """What a file says of the network of ``run``, which stays, and what is left of ``plan`` to measure.

    ``tested`` is what `files_of` says now.

    Numbers of an older version of this package are measured again. ``overwrite`` leaves all of the plan to measure.

    Raises:
        ConfigError: the file holds something else than an evaluation; or, without ``overwrite``, one that is damaged
            or of another network, or the answer to another question, which measuring would replace.
    """
    stored = _read(file, overwrite=overwrite)
    if not stored:
        return {}, plan
    wanted = settings_of(run, plan)
    settings = stored["settings"] = _with_images(run, stored["settings"])
    asked, known = wanted.pop("parts"), settings.get("parts", {})
    tables = {key: _unlike(key, settings.get(key) or {}, wanted[key]) for key in ("data", "model")}
    others = [key for key in wanted if tables.get(key, settings.get(key) != wanted[key])]
    files = settings.get("files") or _counted(stored.get("images"), tested)
    others += ["files"] if tested and files != tested else []
    if others or stored.get("format") != FORMAT:
        if overwrite:
            return {}, plan
        what = f"other {_NAMES[others[0]]}" if others else "another version of this package"
        reason = ""
        if others and others[0] in tables:
            reason = f", {tables[others[0]]}"
        elif "images" in others:
            there = settings["images"] or settings.get("data", {}).get("name")
            reason = f", {there}, not {wanted['images'] or run.config.data.name}"
        elif "files" in others:
            reason = f": {files} then, {tested} now"
        raise ConfigError(f"{file} holds an evaluation of {what} ({stored.get('run')}{reason}): {_WAY_OUT}")
    plan = replace(plan, ood=tuple(ood_names(plan.ood, run.config.data.name)))
    if "ood" in known:  # files of before leave out the usual sets
        known["ood"]["ood"] = [placed(name) for name in ood_names(known["ood"]["ood"], run.config.data.name)]
        known["ood"].setdefault("folders", folders_of(known["ood"]["ood"]))
        stored["ood"] = {**stored["ood"], "sets": {placed(name): one for name, one in stored["ood"]["sets"].items()}}
    if folder := known.get("corruptions", {}).get("corruption_folder"):  # and name folders as they were given
        known["corruptions"]["corruption_folder"] = str(whole_path(folder))
    lost = {part: _difference(known[part], asked[part]) for part in asked if part in known}
    for part, difference in lost.items():
        if difference and not overwrite:
            without = ", --what error leaves it out" if part == "calibration" else ""
            raise ConfigError(f"{file} holds {part} with {difference}: {_WAY_OUT}{without}")
    # it may have been measured from another working directory, or by a version that had other keys
    stored = stored | {"run": run.name, "configuration": configuration_of(run)}
    same = [part for part, difference in lost.items() if not difference]
    if "ood" in same and "ood" in plan.parts:
        known["ood"]["ood"] = _still_there(known["ood"]["ood"], file, overwrite=overwrite)
    plan = _grown(plan, known, same)
    if overwrite:
        return stored, plan
    return stored, _rest(stored, known, plan, settings_of(run, plan)["parts"])


def _unlike(table: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """How two tables of a configuration differ; the stored one may be of before a key, which then has its default."""
    found = differing({table: known or {"name": None}}, {table: asked}, but=[IMAGES])
    return "; ".join(f"{key.partition('.')[2]} = {there}, not {now}" for key, (there, now) in found.items())


def _with_images(run: Run, settings: Mapping[str, Any]) -> Result:
    """Stored settings with the images that they are of; files of before name them with the data, or are of the own."""
    data = dict(settings.get("data") or {})
    if (named := data.pop("root", None)) is not None:  # "name, 12 digits"
        name, _, digits = str(named).rpartition(", ")
        return {"images": f"{name}#{digits[:6]}", **settings, "data": data}
    return {"images": own_images(run), **settings}


def _counted(images: int | None, tested: str) -> str:
    """What a file of before says of the files that it is of, which is how many: ``tested`` if it is as many now."""
    same = images is None or tested.startswith(f"{images} images, ")
    return tested if same else f"{images} images"


def _still_there(sets: Sequence[str], file: Path, *, overwrite: bool) -> list[str]:
    """Sets that can be measured again; a folder that is gone is refused, or left out on request."""
    gone = [name for name in sets if name.startswith("folder:") and not Path(name.removeprefix("folder:")).is_dir()]
    if gone and not overwrite:
        raise ConfigError(
            f"{file} holds ood of {gone[0]}, which is gone, and sets are measured together: --overwrite leaves it out, "
            "--out takes another file"
        )
    return [name for name in sets if name not in gone]


def _grown(plan: Plan, known: Mapping[str, Any], same: Sequence[str]) -> Plan:
    """The plan with the sets and corruptions that are stored of the same images.

    Sets are measured together, since one picture shows their scores.
    """
    if "ood" in same and "ood" in plan.parts:
        plan = replace(plan, ood=tuple(dict.fromkeys([*known["ood"]["ood"], *plan.ood])))
    if "corruptions" in same:
        before = known["corruptions"]
        kinds, severities = {*before["kinds"], *plan.kinds}, {*before["severities"], *plan.severities}
        plan = replace(plan, kinds=in_order(kinds), severities=tuple(sorted(severities)))
    return plan


def _rest(stored: Result, known: Mapping[str, Any], plan: Plan, asked: Mapping[str, Any]) -> Plan:
    """What is left of a plan that has all that is stored: other attacks, other corruptions at the same severities."""
    answered = {part for part in asked if known.get(part) == asked[part]}
    current = [part for part in asked if part in known and known[part]["version"] == asked[part]["version"]]
    if "attacks" in current and _checks_answered(stored, known, plan):
        new = tuple(attack for attack in plan.attacks if asdict(attack) not in known["attacks"]["attacks"])
        plan = replace(plan, attacks=new, check_images=0)
        if not new:
            answered.add("attacks")
    if "corruptions" in current and known["corruptions"]["severities"] == list(plan.severities):
        plan = replace(plan, kinds=tuple(kind for kind in plan.kinds if kind not in known["corruptions"]["kinds"]))
        if not plan.kinds:
            answered.add("corruptions")
    return replace(plan, parts=tuple(part for part in asked if part not in answered))


def _checks_answered(stored: Result, known: Mapping[str, Any], plan: Plan) -> bool:
    """Whether no checks of attacks are asked for, or those that are stored are of as many images."""
    if not plan.check_images:
        return True
    there = stored["attacks"].get("images", plan.check_images)
    same = min(plan.check_images, there) == min(known["attacks"].get("check_images", 0), there)
    return "checks" in stored["attacks"] and same


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
    images = asked["check_images"] or known["check_images"]
    return {**new, "attacks": rows, **checks}, {**asked, "attacks": attacks, "check_images": images}


def merge_corruptions(
    stored: Result, known: Mapping[str, Any], new: Result, asked: Mapping[str, Any]
) -> tuple[Result, Any]:
    """Corruptions that were measured now beside the stored ones of the same images, and the settings of all."""
    if not known or _difference(known, asked) or known["severities"] != asked["severities"]:
        return new, asked
    both = {key: {**stored.get(key, {}), **new[key]} for key in ("error_percent", "approximations")}
    kinds = in_order(both["error_percent"])
    merged = chosen_corruptions({**stored, **new, **both}, kinds, new["severities"])
    return merged, {**asked, "kinds": list(kinds)}


def check_summary(file: Path, *, overwrite: bool) -> None:
    """Refuse to write the summary of several runs over something else, or over a damaged one without ``overwrite``."""
    if file.exists() and (content := _content(file, read_json, overwrite=overwrite)) and set(content) != _SUMMARY:
        raise ConfigError(f"--out {file} is there and is no table of several runs: name another file")


def _difference(known: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """How two questions differ, but for what is merged: attacks, sets and corruptions of the same images.

    A folder of images that both name is to hold the same.
    """
    merged = ("version", "check_images", "attacks", "ood", "folders", "kinds", "severities")
    before, now = (
        {key: part.get(key) for key in asked if key not in merged} | part.get("folders", {}) for part in (known, asked)
    )
    found = {key: (before[key], now[key]) for key in before if key in now and before[key] != now[key]}
    return "; ".join(f"{key} = {there}, not {here}" for key, (there, here) in found.items())


def _read(file: Path, *, overwrite: bool) -> Result:
    """The evaluation in a file; empty without one."""
    if not file.exists():
        return {}
    stored = _content(file, read_json, overwrite=overwrite)
    if stored and (not isinstance(stored.get("settings"), dict) or "error_percent" not in stored):
        raise ConfigError(_other(file))
    return _content(file, read_evaluation, overwrite=overwrite)


def _content(file: Path, read: Callable[[Path], Result], *, overwrite: bool) -> Result:
    """What a file holds; empty of a damaged one that is to be replaced."""
    try:
        return read(file)
    except ValueError as error:
        if not file.is_file() or not (file.name.startswith("evaluation") or _marked(file.read_bytes())):
            raise ConfigError(_other(file)) from None
        if overwrite:
            return {}
        raise ConfigError(f"{error}; {_WAY_OUT}") from None


def _marked(text: bytes) -> bool:
    return all(mark in text for mark in _MARKS)


def _other(file: Path) -> str:
    return f"--out {file} is there and holds no evaluation of a network: name another file"
