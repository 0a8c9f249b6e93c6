"""Storing finished runs: compact records with what was evaluated, one run a line."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from alignmixup.files import write_text
from alignmixup.records import sealed
from alignmixup.report.collect import STORED, Run, identity, read_stored, shown_curve, six_digits
from alignmixup.runs.record import last_part, portable
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, differing, told

# of an evaluation, what its record says too
_SAID = frozenset({"run", "method", "seed", "data", "configuration", "environment", "conventions"})
_FOLDER = "folder:"
_OF_A_PLACE = frozenset({"mce"})  # divided by the errors of a run that its path alone names


def compact(run: Run) -> dict[str, Any]:
    """A record to store: configuration, results, circumstances, the part of the curve that is shown, and what
    `evaluate` measured.

    Paths of the machine where it ran are left out.
    """
    kept = {key: value for key, value in run.record.items() if key not in ("config", "curve")}
    named = {"format": kept.pop("format"), "label": run.label, "seed": run.record["seed"], "date": run.date}
    measured = {"evaluation": evaluation} if (evaluation := _compact_evaluation(run)) else {}
    return named | kept | {"config": portable(run.config), "curve": shown_curve(run)} | measured


def write_records(runs: Iterable[Run], folder: Path) -> Path:
    """Store compact records in the folder's ``records.jsonl``, one run a line, in the order of `Run.key`.

    Runs that are there already stay, except those with the key of a new one. Of the same run, what was evaluated before
    and is not there now stays too.

    Raises:
        ValueError: two of the runs have one key, or a run that is there has it and another configuration or other
            images.
    """
    file = folder / STORED
    stored = {run.key: run for run in (read_stored(file) if file.is_file() else [])}
    new: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        name = f"{run.label} with seed {run.record['seed']}"
        if run.key in new:
            raise ValueError(f"{new[run.key].path} and {run.path} are both {name}: store them in different folders")
        new[run.key] = run
        if run.key in stored:
            _check_replaced(stored[run.key], run, f"{file} holds {name}")
            new[run.key] = _with_evaluation(run, stored[run.key])
    stored |= new
    lines = [json.dumps(sealed(compact(stored[key])), allow_nan=False) for key in sorted(stored)]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(f"{line}\n" for line in lines))
    return file


def _check_replaced(stored: Run, run: Run, said: str) -> None:
    """Refuse to lose a run of another configuration, or on other images."""
    configs = [portable(one.config) for one in (stored, run)]
    if other := told(differing(*configs, but=(*OF_ONE_ROW, IMAGES))):
        raise ValueError(f"{said} of another configuration, {other}: take another folder, or rename the run's")
    if run.is_of_other_files(stored):
        there, now = (" and ".join(one.files.values()) for one in (stored, run))
        raise ValueError(
            f"{said} of other images, {there} there and {now} now: take another folder, or rename the run's"
        )


def _with_evaluation(run: Run, stored: Run) -> Run:
    """The run, with the parts of an evaluation that are stored of the same weights and images, and that it lacks."""
    if identity(run) != identity(stored) or not stored.evaluation:
        return run
    if not run.evaluation:
        return replace(run, evaluation=stored.evaluation)
    own, before = _compact_evaluation(run), stored.evaluation
    settings, earlier = own.get("settings", {}), before.get("settings", {})
    if any(settings.get(key) != earlier.get(key) for key in {*settings, *earlier} - {"parts"}):
        return run
    parts = {**earlier.get("parts", {}), **settings.get("parts", {})}
    return replace(run, evaluation={**before, **own, "settings": {**settings, "parts": parts}})


def _compact_evaluation(run: Run) -> dict[str, Any]:
    return {key: _compact(value) for key, value in run.evaluation.items() if key not in _SAID}


def _compact(value: Any) -> Any:
    """What was measured, in six digits and without paths of the machine."""
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, inner in value.items():
            if key not in _OF_A_PLACE:
                found[_unused(_without_place(key), found)] = _compact(inner)
        return found
    if isinstance(value, list):
        return [_compact(inner) for inner in value]
    return six_digits(value) if isinstance(value, float) else _without_place(value)


def _without_place(value: Any) -> Any:
    """Of a path its last part, of an out-of-distribution set ``folder:PATH`` too."""
    if isinstance(value, str) and value.startswith(_FOLDER):
        return _FOLDER + last_part(value.removeprefix(_FOLDER))
    return last_part(value)


def _unused(name: str, names: Mapping[str, Any]) -> str:
    """The name, numbered where it is there: two folders may be called alike."""
    numbered = (f"{name} ({number})" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in names)
