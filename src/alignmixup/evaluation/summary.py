"""Mean and spread of the evaluations of several runs, one group a method. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from alignmixup.evaluation.corruptions.mean_error import chosen_corruptions

_RANKED = 5  # of the top-5 error
_STEPS = (1, 4, 16)  # around an image, of those measured
_SCORE = "msp"  # the published detector; evaluation.json holds the others too
_IMAGES = ("data.root", "images")  # results of before do not say them: then they may be any
_DETECTION = ("detection_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95")


@dataclass(frozen=True)
class Number:
    """A number of a table, the images that it was measured on, and its 95 % interval where there is one."""

    value: float
    images: int
    interval: Sequence[float] | None = None


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one ``evaluation.json`` that a table shows, by names such as ``ece_percent``; those that are
    there.
    """
    return {key: number.value for key, number in numbers_of(result).items()}


def numbers_of(result: Mapping[str, Any]) -> dict[str, Number]:
    """The same with their circumstances."""
    images, recorded = result.get("images", 0), result.get("recorded") or {}
    numbers = {key: Number(result[key], images) for key in ("error_percent", "top5_error_percent", "cross_entropy")}
    if result.get("classes", _RANKED + 1) <= _RANKED:  # then it is 0 whatever the network does
        del numbers["top5_error_percent"]
    numbers["error_percent"] = Number(result["error_percent"], images, result.get("error_interval_percent"))
    for key in ("best_error_percent", "last10_error_percent"):
        if key in recorded:
            numbers[key] = Number(recorded[key], images)
    if calibration := result.get("calibration"):
        for key in ("ece_percent", "overconfidence_percent", "mean_confidence_percent", "brier"):
            numbers[key] = Number(calibration[key], calibration.get("images", images))
        if scaled := calibration.get("temperature"):  # of other images than the rest: its own "before" stands beside it
            for key, which in (("unscaled_ece_percent", "before"), ("scaled_ece_percent", "after")):
                numbers[key] = Number(scaled[which]["ece_percent"], scaled["images"])
    if found := result.get("representation"):
        numbers |= {key: Number(value, found["images"]) for key, value in _of_representation(found).items()}
    for attack in result.get("attacks", {}).get("attacks", ()):
        interval = attack.get("error_interval_percent")
        numbers[f"{attack['label']} error_percent"] = Number(
            attack["error_percent"], attack.get("images", images), interval
        )
    if ood := result.get("ood"):
        seen = min((one["in_images"] for one in ood.get("sets", {}).values()), default=images)
        numbers |= {f"{key}_percent": Number(100 * ood["mean"][_SCORE][key], seen) for key in _DETECTION}
    if corruptions := result.get("corruptions"):
        seen = corruptions.get("images", images)
        numbers["corruption_error_percent"] = Number(corruptions["mean_error_percent"], seen)
        if "mce" in corruptions:
            numbers["mce_percent"] = Number(corruptions["mce"]["mce_percent"], seen)
    return numbers


def _of_representation(found: Mapping[str, Any]) -> dict[str, float]:
    centred, segments = found["spectrum"]["centred"], found["segments"]
    numbers = {
        "spectrum_largest": centred["largest_relative"],
        "spectrum_rest": centred["rest_relative"],
        "effective_rank": centred["effective_rank"],
        "within_class_percent": found["within_class_percent"],
        "wrong_confidence_percent": found["errors"]["mean_confidence_percent"],
        "label_changes": segments["label_changes"],
        "other_class_percent": segments["other_class_percent"],
        "detour": segments["detour"],
    }
    numbers |= {
        f"step_{step['step_255']:g}_change_percent": step["change_percent"]
        for step in found["steps"]
        if step["step_255"] in _STEPS
    }
    return {key: value for key, value in numbers.items() if value is not None}


def in_common(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Several results cut down to what they hold alike, so that their means and figures are of one question.

    Convention:
        - Results grow apart: one may hold more out-of-distribution sets, corruptions or severities than another. Of
          these, what all that have the part have in common is kept, and the means are anew of it.
        - Left out of all are a part of which nothing is common, corruptions that were made otherwise, calibration with
          other bins, and mCEs of other kinds or baselines.
    """
    several = [dict(result) for result in results]
    for part, cut in _COMPARED.items():
        holders = [result for result in several if part in result]
        for holder, kept in zip(holders, cut([holder[part] for holder in holders]), strict=True):
            if kept is not None:
                holder[part] = kept
            else:
                del holder[part]
    return several


def asked_otherwise(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each part that some hold, and of which nothing is `in_common`, that it is left out."""
    alike = in_common(results)
    parts = [part for part in _COMPARED if any(part in one for one in results)]
    return [
        f"{part} is in no table and figure of these runs: it was asked otherwise of each; ask the same of all, with "
        "--overwrite"
        for part in parts
        if not any(part in one for one in alike)
    ]


_Parts = Sequence[Mapping[str, Any]]
_Cut = Sequence[Mapping[str, Any] | None]  # None: left out


def _alike(parts: _Parts, *keys: str) -> bool:
    return all(part.get(key) == parts[0].get(key) for part in parts for key in keys)


def _shared(several: Sequence[Sequence[Any]]) -> list[Any]:
    return [one for one in several[0] if all(one in others for others in several)]


def _of_same_bins(parts: _Parts) -> _Cut:
    return parts if _alike(parts, "bins") else [None] * len(parts)


def _of_same_sets(parts: _Parts) -> _Cut:
    every = [list(part.get("sets", {})) for part in parts]
    names = _shared(every) if every else []
    if all(set(one) == set(names) for one in every):
        return parts
    kept = [(part, {name: part["sets"][name] for name in names}) for part in parts]
    return [{**part, "sets": sets, "mean": mean_over_sets(sets)} if names else None for part, sets in kept]


def _of_same_corruptions(parts: _Parts) -> _Cut:
    if parts and not _alike([part.get("mce", {}) for part in parts if "mce" in part], "kinds", "baseline"):
        parts = [{key: value for key, value in part.items() if key != "mce"} for part in parts]
    if _alike(parts, "kinds", "severities", "source", "seed", "table"):
        return parts
    kinds, severities = (_shared([part[key] for part in parts]) for key in ("kinds", "severities"))
    if not kinds or not severities or not _alike(parts, "source", "seed", "table"):
        return [None] * len(parts)
    return [chosen_corruptions(part, kinds, severities) for part in parts]


_COMPARED = {"calibration": _of_same_bins, "ood": _of_same_sets, "corruptions": _of_same_corruptions}


def mean_over_sets(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of each score's metrics over out-of-distribution sets, each weighing the same."""
    first = next(iter(sets.values()))
    return {
        score: {metric: sum(one[score][metric] for one in sets.values()) / len(sets) for metric in metrics}
        for score, metrics in first.items()
        if isinstance(metrics, Mapping)
    }


def group_by_method(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Results of runs that differ by their seed alone, under the name of their method; see `group_runs`."""
    return group_runs(results, lambda result: str(result["method"]))


def group_runs(
    results: Sequence[Mapping[str, Any]], name_of: Callable[[Mapping[str, Any]], str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Results of runs of one name that differ by their seed alone, under that name, in the order of appearance.

    Where one name has runs of several data sets, images or configurations, its names say what differs.

    Raises:
        ValueError: two of them have one seed, so that their difference is no spread over seeds.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        name = name_of(result)
        rivals = [_circumstances(other) for other in results if name_of(other) == name]
        own = _circumstances(result)
        differing = [key for key in own if any(_differ(key, own, other) for other in rivals)]
        if "data.name" in differing:  # what else differs then belongs to the data
            differing = ["data.name"] if _told_apart(rivals, "data.name") else differing
        if {*_IMAGES} <= {*differing} and own["data.root"] == own["images"]:  # said once
            differing.remove("images")
        label = ", ".join([name, *(f"{key}={own[key]}" for key in differing)])
        groups.setdefault(label, []).append(result)
    for label, group in groups.items():
        _check_seeds(label, group)
    return groups


def _check_seeds(label: str, group: Sequence[Mapping[str, Any]]) -> None:
    first: dict[Any, Mapping[str, Any]] = {}
    for result in group:
        seed = result.get("seed")
        if seed in first:
            raise ValueError(
                f"{first[seed].get('run')} and {result.get('run')} are both {label} with seed {seed}: their difference "
                "is no spread over seeds; give one of them"
            )
        first[seed] = result


def _differ(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one.get(key) != other.get(key)) and not (key in _IMAGES and (key not in one or key not in other))


def _told_apart(several: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether those that are equal in ``key`` are equal in everything."""
    return not any(
        _differ(each, one, other)
        for one in several
        for other in several
        if one[key] == other[key]
        for each in {**one, **other}
    )


def _circumstances(result: Mapping[str, Any]) -> dict[str, Any]:
    images = result.get("settings", {}).get("images")
    tested_on = {} if images is None else {"images": images}
    return {"data.name": result.get("data"), **result.get("configuration", {}), **tested_on}


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1); None of a single value."""
    return stdev(values) if len(values) > 1 else None


def summarise_evaluations(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread of each method's headline numbers, of one result a run.

    Convention:
        - Spread is the sample standard deviation over seeds (n - 1); None with a single one.
        - A number that some run of a method lacks is left out, and what the results do not have `in_common`.
        - ``images`` are the counts of images that a number was measured on; ``interval`` holds those of single runs.
    """
    summaries = []
    for method, group in group_by_method(in_common(results)).items():
        rows = [numbers_of(result) for result in group]
        common = [key for key in rows[0] if all(key in row for row in rows)]
        columns = {key: [row[key].value for row in rows] for key in common}
        ends = {key: rows[0][key].interval for key in common if len(rows) == 1 and rows[0][key].interval}
        summaries.append(
            {
                "method": method,
                "seeds": [result["seed"] for result in group],
                "runs": [result["run"] for result in group],
                "mean": {key: fmean(values) for key, values in columns.items()},
                "spread": {key: spread(values) for key, values in columns.items()},
                "interval": ends,
                "images": {key: sorted({row[key].images for row in rows}) for key in common},
            }
        )
    return summaries
