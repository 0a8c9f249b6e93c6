"""The JSON files that commands write about runs, and reading them: what has another form is refused in one line.

A form says what readers rely on: a type; a tuple of forms, any of which fits; ``[form]`` of a list; ``{"key": form}``
of an object, where ``"key?"`` may be missing and `EVERY` is the form of all values. Other keys may stand there and are
not looked at.

What is measured is written with a checksum of all of it, so that no flipped bit is read as another number. A file
without one, of an older version or written by hand, is read as it is. Imports no torch.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from alignmixup.files import check_is_file, write_json

__all__ = [
    "RECORD_FORMAT",
    "each_record",
    "read_evaluation",
    "read_json",
    "read_localization",
    "read_record",
    "read_records",
    "read_results",
    "read_style_description",
    "sealed",
    "write_sealed",
]

RECORD_FORMAT = 1
EVERY = "*"
_LARGEST = 1e30  # nothing that is measured is larger, and figures and sums of such numbers overflow
_DEEPEST = 40
_SEAL = "sha256_of_the_rest"

_NUMBER = (int, float)
_OPTIONAL = (int, float, type(None))
_TEXT = (str, type(None))
_NUMBERS = [_NUMBER]
_ERRORS = ("last10_error_percent", "best_error_percent", "last_error_percent")

_MACHINE = {"packages?": {EVERY: str}, "processor?": _TEXT, "gpu?": _TEXT}
_REVISION = {"commit?": _TEXT}
_METRICS = dict.fromkeys((*_ERRORS, "last_cross_entropy", "seconds", "images_per_second"), _NUMBER)
_RECORD = {
    "config": {EVERY: {}, **{table: {"name": str} for table in ("data", "model", "method")}},
    "seed": int,
    "metrics": {EVERY: _NUMBER, "epochs": int, "best_epoch?": int, **_METRICS},
    "curve": [{"epoch": int, "train_loss": _NUMBER, "error_percent?": _NUMBER, "cross_entropy?": _NUMBER}],
    "environment?": _MACHINE,
    "revision?": _REVISION,
    "weights_sha256?": {EVERY: str},
    "class_names?": [str],
    "label?": str,
    "date?": str,
}

_SCALED = {"ece_percent": _NUMBER}
_CALIBRATION = {
    **{f"{key}_percent": _NUMBER for key in ("ece", "overconfidence", "mean_confidence", "accuracy")},
    "brier": _NUMBER,
    "images?": int,
    "temperature?": {"before": _SCALED, "after": _SCALED, "images": int},
    "reliability?": {"edges": _NUMBERS, "counts": [int], "confidence": _NUMBERS, "accuracy": _NUMBERS},
}
_ATTACK = {
    "label": str,
    "error_percent": _NUMBER,
    "images?": int,
    "error_interval_percent?": ([], type(None)),
    "path_error_percent?": ([], type(None)),
}
_CHECK = {"name": str, "passed": bool, "error_percent?": ([], int, float), "epsilon?": _NUMBERS}
_DETECTION = dict.fromkeys(("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95"), _NUMBER)
_SPECTRUM = {
    **dict.fromkeys(("largest_relative", "rest_relative", "effective_rank"), _NUMBER),
    "values": _NUMBERS,
}
_REPRESENTATION = {
    "images": int,
    "spectrum": {"centred": _SPECTRUM},
    "within_class_percent": _NUMBER,
    "errors": {"mean_confidence_percent": _OPTIONAL, "levels": _NUMBERS, "above_percent": (_NUMBERS, type(None))},
    "segments": {
        **dict.fromkeys(("label_changes", "other_class_percent", "detour"), _NUMBER),
        "confidence_percent": _NUMBERS,
    },
    "steps": [{"step_255": _NUMBER, "change_percent": _NUMBER}],
}
_EVALUATION = {
    **dict.fromkeys(("error_percent", "top5_error_percent", "cross_entropy"), _NUMBER),
    **{f"{key}?": str for key in ("run", "method", "data", "weights")},
    "images?": int,
    "classes?": int,
    "seed?": (int, type(None)),
    "configuration?": {},
    "error_interval_percent?": ([], type(None)),
    "recorded?": ({"best_error_percent?": _NUMBER, "last10_error_percent?": _NUMBER}, type(None)),
    "settings?": {"weights_sha256?": str, "parts?": {EVERY: {}, "attacks?": {"attacks?": [{}]}}},
    "calibration?": _CALIBRATION,
    "representation?": _REPRESENTATION,
    "attacks?": {"images?": int, "attacks": [_ATTACK], "checks?": {"checks": [_CHECK]}},
    "ood?": {"sets?": {EVERY: {"in_images": int, "msp?": {"auroc": _NUMBER}}}, "mean": {"msp": _DETECTION}},
    "corruptions?": {
        "images?": int,
        "kinds": [str],
        "severities": [int],
        "mean_error_percent": _NUMBER,
        "clean_error_percent": _NUMBER,
        "error_percent": {EVERY: _NUMBERS},
        "kind_error_percent?": {EVERY: _NUMBER},
        "mce?": {"mce_percent": _NUMBER},
    },
}
_GROUP = {"name": str, "runs": [str], "mean": {EVERY: _NUMBER}, "spread": {EVERY: _OPTIONAL}}
_LOCALIZATION = {
    "data?": str,
    "images?": int,
    "groups": [_GROUP],
    "runs?": [{"run?": str, "model?": str, "method?": str}],
}
_STYLE = {
    "kind": str,
    "settings": {EVERY: (*_OPTIONAL, str, [])},
    "measured?": {EVERY: _NUMBER},
    "tensors_sha256?": str,
}
_RESULTS = {
    "methods": [{"name": str, "folders": [str], "settings": {}}],
    "data?": str,
    "command?": str,
    "overrides?": [str],
}


def last_ten(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    """Errors of the tests in the last ten epochs of a curve, in percent: fewer than ten where tests were rarer."""
    evaluated = [row for row in curve if "error_percent" in row]
    return [row["error_percent"] for row in evaluated if row["epoch"] > evaluated[-1]["epoch"] - 10]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object, all of whose numbers are of a size that can be worked with.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or something else.
    """
    check_is_file(path)
    return _object(path.read_bytes(), str(path))


def _object(text: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is damaged or no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{place} is no JSON object")
    if complaint := _oversized(content, "", 0):
        raise ValueError(f"{place} is damaged: {complaint}")
    seal = content.pop(_SEAL, None)
    if seal is not None and seal != _digest(content):
        raise ValueError(f"{place} is damaged or was edited: its checksum differs; if you edited it, remove {_SEAL}")
    return content


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that `read_json` reads, atomically, with a checksum; a number that is not finite is refused."""
    write_json(path, sealed(content))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content, and a checksum of it that `read_json` compares and leaves out."""
    return {**content, _SEAL: _digest(json.loads(json.dumps(content)))}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: damaged, or something else.
    """
    try:
        record = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no record at {path}: the run is not finished, or this is no run folder") from None
    return _checked_record(record, str(path))


def _checked_record(record: dict[str, Any], place: str) -> dict[str, Any]:
    if record.get("format") != RECORD_FORMAT:
        raise ValueError(f"{place} is no run record of format {RECORD_FORMAT}")
    return _checked(record, _RECORD, place, _of_record)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read a file of stored records, one run a line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no line, or one that is damaged, no record, or of a run that another line holds.
    """
    records = []
    for _, record in each_record(path):
        if isinstance(record, ValueError):
            raise record
        records.append(record)
    return records


def each_record(path: Path) -> Iterator[tuple[str, dict[str, Any] | ValueError]]:
    """Give each line's place with its record, or with what is wrong with it; errors of the file as `read_records`."""
    check_is_file(path)
    seen: set[tuple[str, str, int]] = set()
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{path} holds no record")
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        try:
            record = _checked_record(_object(line, place), place)
            if not isinstance(record.get("label"), str):
                raise ValueError(f"{place} has no label, the name of its row")
            key = (record["config"]["data"]["name"], record["label"], record["seed"])
            if key in seen:
                raise ValueError(f"{place}: {key[1]} with seed {key[2]} is there twice")
            seen.add(key)
        except ValueError as error:
            yield place, error
        else:
            yield place, record


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read what ``evaluate`` wrote about one network; errors as of `read_json`, and of another form."""
    return _checked(read_json(path), _EVALUATION, path, _of_evaluation, way_out="run `alignmixup evaluate` again")


def read_localization(path: Path) -> dict[str, Any]:
    """Read what ``localize`` wrote; errors as of `read_json`, and of another form."""
    return _checked(read_json(path), _LOCALIZATION, path, _of_localization, way_out="run `alignmixup localize` again")


def read_results(path: Path) -> dict[str, Any]:
    """Read the table of a comparison; errors as of `read_json`, and of another form."""
    return _checked(read_json(path), _RESULTS, path)


def read_style_description(text: str, place: str, *, version: int) -> dict[str, Any]:
    """Read what a style autoencoder's file says of its networks; errors as of `read_json`, and of another form."""
    described = _object(text.encode(), place)
    if described.get("format") != version:
        raise ValueError(f"{place} has format {_shown(described.get('format'))}, expected {version}")
    return _checked(described, _STYLE, place)


def _checked(
    content: dict[str, Any],
    form: Any,
    path: Path | str,
    further: Callable[[Mapping[str, Any]], str] = lambda _: "",
    *,
    way_out: str = "",
) -> dict[str, Any]:
    if complaint := _complaint(content, form, "") or further(content):
        ending = f"; it may be of another version: {way_out}" if way_out else ""
        raise ValueError(f"{path} is damaged: {complaint}{ending}")
    return content


def _oversized(value: Any, name: str, depth: int) -> str:
    """The first number that is not finite or larger than any that is measured; empty without one."""
    if depth > _DEEPEST:
        return f"{name:.60} is nested more than {_DEEPEST} times"
    if isinstance(value, dict):
        return next(filter(None, (_oversized(one, f"{name}.{key}", depth + 1) for key, one in value.items())), "")
    if isinstance(value, list):
        return next(filter(None, (_oversized(one, f"{name}[{n}]", depth + 1) for n, one in enumerate(value))), "")
    if isinstance(value, int | float) and not abs(value) <= _LARGEST:  # NaN and infinity are not
        return f"{name.removeprefix('.')} is {_shown(value)}"
    return ""


def _complaint(value: Any, form: Any, name: str) -> str:
    """What of a value is not of its form; empty if all is."""
    if isinstance(form, tuple):
        found = [_complaint(value, one, name) for one in form]
        # the deepest complaint is of the form that was meant
        return "" if "" in found else max(found, key=lambda text: text.count("."))
    if isinstance(form, dict):
        return _complaint_of_object(value, form, name)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is no list"
        inner = form[0] if form else _NUMBER
        return next(filter(None, (_complaint(one, inner, f"{name}[{n}]") for n, one in enumerate(value))), "")
    if isinstance(value, form) and (form is bool or not isinstance(value, bool)):
        return ""
    return f"{name} is {_shown(value)}"


def _complaint_of_object(value: Any, form: Mapping[str, Any], name: str) -> str:
    if not isinstance(value, dict):
        return f"{name or 'it'} is no object"
    prefix = f"{name}." if name else ""
    for key, inner in form.items():
        own = key.removesuffix("?")
        if key == EVERY:
            found = next(filter(None, (_complaint(one, inner, f"{prefix}{k:.40}") for k, one in value.items())), "")
        elif own in value:
            found = _complaint(value[own], inner, f"{prefix}{own}")
        else:
            found = "" if key.endswith("?") else f"{prefix}{own} is missing"
        if found:
            return found
    return ""


def _of_record(record: Mapping[str, Any]) -> str:
    epochs = [row["epoch"] for row in record["curve"]]
    if not epochs or any(second <= first for first, second in pairwise([-1, *epochs])):
        return "curve is no list of epochs"
    return "" if any("error_percent" in row for row in record["curve"]) else "curve holds no error_percent"


def _of_evaluation(evaluation: Mapping[str, Any]) -> str:
    if bins := evaluation.get("calibration", {}).get("reliability"):
        lengths = {len(bins["edges"]) - 1, *(len(bins[key]) for key in ("counts", "confidence", "accuracy"))}
        if len(lengths) > 1 or min(bins["counts"], default=-1) < 0 or not any(bins["counts"]):
            return "calibration.reliability has bins that do not belong together"
    if corruptions := evaluation.get("corruptions"):
        kinds, severities = corruptions["kinds"], len(corruptions["severities"])
        if not kinds or any(len(corruptions["error_percent"].get(kind, ())) != severities for kind in kinds):
            return "corruptions.error_percent has other kinds or severities"
        if any(kind not in corruptions.get("kind_error_percent", {kind: 0}) for kind in kinds):
            return "corruptions.kind_error_percent has other kinds"
    for place in (evaluation, *evaluation.get("attacks", {}).get("attacks", ())):
        if len(place.get("error_interval_percent") or (0, 0)) != 2:
            return "error_interval_percent is no pair of numbers"
    return ""


def _of_localization(localization: Mapping[str, Any]) -> str:
    different = any(group["mean"].keys() != group["spread"].keys() for group in localization["groups"])
    return "groups: mean and spread are of different numbers" if different else ""


def _shown(value: Any) -> str:
    """A value in a message, whatever it is and however long."""
    return ascii(value if not isinstance(value, str) else value[:50])[:60]
