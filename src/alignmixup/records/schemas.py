"""The form of each file that commands write, and what a form cannot say of it."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from alignmixup.records.validation import EVERY, NUMBER

_OPTIONAL = (int, float, type(None))
_TEXT = (str, type(None))
_NUMBERS = [NUMBER]
_ERRORS = ("last10_error_percent", "best_error_percent", "last_error_percent")

_MACHINE = {"packages?": {EVERY: str}, "processor?": _TEXT, "gpu?": _TEXT}
_REVISION = {"commit?": _TEXT}
_METRICS = dict.fromkeys((*_ERRORS, "last_cross_entropy", "seconds", "images_per_second"), NUMBER)
_SCALED = {"ece_percent": NUMBER}
_CALIBRATION = {
    **{f"{key}_percent": NUMBER for key in ("ece", "overconfidence", "mean_confidence", "accuracy")},
    "brier": NUMBER,
    "images?": int,
    "temperature?": {"before": _SCALED, "after": _SCALED, "images": int},
    "reliability?": {"edges": _NUMBERS, "counts": [int], "confidence": _NUMBERS, "accuracy": _NUMBERS},
}
_ATTACK = {
    "label": str,
    "error_percent": NUMBER,
    "images?": int,
    "error_interval_percent?": ([], type(None)),
    "path_error_percent?": ([], type(None)),
}
_CHECK = {"name": str, "passed": bool, "error_percent?": ([], int, float), "epsilon?": _NUMBERS}
_DETECTION = dict.fromkeys(("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95"), NUMBER)
_SPECTRUM = {
    **dict.fromkeys(("largest_relative", "rest_relative", "effective_rank"), NUMBER),
    "values": _NUMBERS,
}
_REPRESENTATION = {
    "images": int,
    "spectrum": {"centred": _SPECTRUM},
    "within_class_percent": NUMBER,
    "errors": {"mean_confidence_percent": _OPTIONAL, "levels": _NUMBERS, "above_percent": (_NUMBERS, type(None))},
    "segments": {
        **dict.fromkeys(("label_changes", "other_class_percent", "detour"), NUMBER),
        "confidence_percent": _NUMBERS,
    },
    "steps": [{"step_255": NUMBER, "change_percent": NUMBER}],
}
EVALUATION = {
    **dict.fromkeys(("error_percent", "top5_error_percent", "cross_entropy"), NUMBER),
    **{f"{key}?": str for key in ("run", "method", "data", "weights")},
    "images?": int,
    "classes?": int,
    "seed?": (int, type(None)),
    "configuration?": {},
    "error_interval_percent?": ([], type(None)),
    "recorded?": ({"best_error_percent?": NUMBER, "last10_error_percent?": NUMBER}, type(None)),
    "settings?": {"weights_sha256?": str, "files?": str, "parts?": {EVERY: {}, "attacks?": {"attacks?": [{}]}}},
    "calibration?": _CALIBRATION,
    "representation?": _REPRESENTATION,
    "attacks?": {"images?": int, "attacks": [_ATTACK], "checks?": {"checks": [_CHECK]}},
    "ood?": {"sets?": {EVERY: {"in_images": int, "msp?": {"auroc": NUMBER}}}, "mean": {"msp": _DETECTION}},
    "corruptions?": {
        "images?": int,
        "kinds": [str],
        "severities": [int],
        "mean_error_percent": NUMBER,
        "clean_error_percent": NUMBER,
        "error_percent": {EVERY: _NUMBERS},
        "kind_error_percent?": {EVERY: NUMBER},
        "mce?": {"mce_percent": NUMBER},
    },
}
RECORD = {
    "config": {EVERY: {}, **{table: {"name": str} for table in ("data", "model", "method")}},
    "seed": int,
    "metrics": {EVERY: NUMBER, "epochs": int, "best_epoch?": int, **_METRICS},
    "curve": [{"epoch": int, "train_loss": NUMBER, "error_percent?": NUMBER, "cross_entropy?": NUMBER}],
    "environment?": _MACHINE,
    "revision?": _REVISION,
    "weights_sha256?": {EVERY: str},
    "class_names?": [str],
    "image_files?": {EVERY: str},
    "label?": str,
    "date?": str,
    "evaluation?": EVALUATION,  # of a stored one
}
_GROUP = {"name": str, "runs": [str], "mean": {EVERY: NUMBER}, "spread": {EVERY: _OPTIONAL}}
LOCALIZATION = {
    "data?": str,
    "images?": int,
    "groups": [_GROUP],
    "runs?": [{"run?": str, "model?": str, "method?": str}],
}
STYLE = {
    "kind": str,
    "settings": {EVERY: (*_OPTIONAL, str, [])},
    "measured?": {EVERY: NUMBER},
    "tensors_sha256?": str,
}
RESULTS = {
    "methods": [{"name": str, "folders": [str], "settings": {}}],
    "data?": str,
    "command?": str,
    "overrides?": [str],
}


def complaint_of_record(record: Mapping[str, Any]) -> str:
    epochs = [row["epoch"] for row in record["curve"]]
    if not epochs or any(second <= first for first, second in pairwise([-1, *epochs])):
        return "curve is no list of epochs"
    if not any("error_percent" in row for row in record["curve"]):
        return "curve holds no error_percent"
    return complaint_of_evaluation(record.get("evaluation", {}))


def complaint_of_evaluation(evaluation: Mapping[str, Any]) -> str:
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


def complaint_of_localization(localization: Mapping[str, Any]) -> str:
    different = any(group["mean"].keys() != group["spread"].keys() for group in localization["groups"])
    return "groups: mean and spread are of different numbers" if different else ""
