"""Record and figures of the localisation of one or several networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor

from alignmixup.evaluation.localization.box_accuracy import scale_to_maps
from alignmixup.evaluation.localization.contour_boxes import Contours, thresholds
from alignmixup.evaluation.localization.image_pass import MAP_SIZE
from alignmixup.evaluation.localization.protocols import tabulate_centre
from alignmixup.evaluation.summary import spread
from alignmixup.figures.score_maps import MapRow, draw_boxes, draw_threshold_curves
from alignmixup.files import write_json
from alignmixup.runs.localization import Localization, count_boxes
from alignmixup.runs.record import environment, source_revision

FORMAT = 1
CENTRE = "centred box"


class ImageBoxes(Protocol):
    """Boxes and original sizes of images."""

    @property
    def boxes(self) -> list[Tensor]:
        """(k, 4) int64 for each image."""

    @property
    def sizes(self) -> Tensor:
        """(N, 2) int64."""


def write_report(
    records: Sequence[dict[str, Any]],
    boxes: ImageBoxes,
    measured: Sequence[Localization],
    out: Path,
    *,
    step: float,
) -> dict[str, Any]:
    """Write ``localization.json``, ``localization_curves.png`` and, for runs, ``localization_boxes.png``.

    Args:
        records: what each run or folder of maps gave.
        boxes: boxes of the images.
        measured: what each run gave, with its pictures.
        out: folder to write into.
        step: distance between thresholds.

    Returns:
        What the JSON file holds.

    Raises:
        ValueError: runs on different images.
    """
    seen = {(record["data"], record["images"]) for record in records}
    if len(seen) > 1:
        raise ValueError(f"the runs are on different images: {sorted(seen)}; measure one data set at a time")
    contours: list[Contours] = list(records[0]["contours"])
    centre = count_boxes(tabulate_centre(boxes.boxes, boxes.sizes, size=MAP_SIZE[0]), contours, step)
    results = {
        "format": FORMAT,
        "data": records[0]["data"],
        "images": records[0]["images"],
        "step": step,
        "groups": _groups(records),
        "centre": centre,
        "runs": list(records),
        "environment": environment(torch.device(records[0].get("device", "cpu"))),
        "revision": source_revision(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "localization.json", results)
    _draw_curves(results, out / "localization_curves.png")
    if measured and len(measured[0].shown):
        _draw_pictures(measured, out / "localization_boxes.png")
    return results


def _groups(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in their seed alone: folders NAME-seed0, NAME-seed1... of one model."""
    members: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        label = re.sub(r"-seed\d+$", "", Path(record["run"]).resolve().name)
        members.setdefault((label, record.get("model", "")), []).append(record)
    several = len({model for _, model in members}) > 1
    return [_summary(f"{label}, {model}" if several else label, group) for (label, model), group in members.items()]


def _summary(name: str, group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = {key: [numbers_of(record)[key] for record in group] for key in numbers_of(group[0])}
    return {
        "name": name,
        "runs": [record["run"] for record in group],
        "seeds": [record.get("seed") for record in group],
        "mean": {key: fmean(numbers) for key, numbers in values.items()},
        "spread": {key: spread(numbers) for key, numbers in values.items()},
    }


def numbers_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a run that are worth a column, flat."""
    flat: dict[str, float] = {}
    if "error_percent" in record:
        flat["error_percent"] = record["error_percent"]
    for which, accuracy in record["contours"].items():
        flat[f"max_box_acc.{which}"] = accuracy["max_box_acc_percent"]
        flat[f"max_box_acc_v2.{which}"] = accuracy["max_box_acc_v2_percent"]
    for name, value in record.get("top1_localization_percent", {}).items():
        flat[f"top1.{name}"] = value
    if "cutmix_paper" in record:
        flat["cutmix_paper"] = record["cutmix_paper"]["top1_localization_percent"]
    return flat


def _draw_curves(results: Mapping[str, Any], path: Path) -> None:
    """Mean curves of the groups, and that of the centred box."""
    at = thresholds(results["step"]).tolist()
    curves_of = {record["run"]: record["curves_percent"] for record in results["runs"]}
    lines = [
        {"name": group["name"], "thresholds": at, "curves": _mean([curves_of[run] for run in group["runs"]])}
        for group in results["groups"]
    ]
    centre = {"name": CENTRE, "thresholds": at, "curves": results["centre"]["curves_percent"], "is_baseline": True}
    title = f"{results['data']}, {results['images']} images: images with a matching box"
    draw_threshold_curves([*lines, centre], path, title=title)


def _mean(curves: Sequence[Mapping[str, Mapping[str, Sequence[float]]]]) -> dict[str, dict[str, list[float]]]:
    return {
        which: {
            level: [fmean(values) for values in zip(*(one[which][level] for one in curves), strict=True)]
            for level in curves[0][which]
        }
        for which in curves[0]
    }


def _draw_pictures(measured: Sequence[Localization], path: Path) -> None:
    """Boxes of each run at its own best threshold for an overlap of one half; the first seed of each group."""
    first = {re.sub(r"-seed\d+$", "", one.record["run"]): one for one in reversed(measured)}
    rows = []
    for name, one in reversed(first.items()):
        counted = one.record["contours"].get("largest") or next(iter(one.record["contours"].values()))
        threshold = counted["best_threshold_at_iou"]["0.5"]
        table = one.whole.table.select(one.shown)
        match = table.best_iou(torch.tensor([threshold], dtype=torch.float64), "largest")[:, 0].tolist()
        correct = one.whole.correct[one.shown].tolist()
        label = f"{Path(name).name}\nthreshold {threshold:.2f}"
        rows.append(MapRow(label, one.maps.numpy(), table.largest_at(threshold).numpy(), match, correct))
    shown = measured[0]
    truth = scale_to_maps([shown.boxes.boxes[i] for i in shown.shown], shown.boxes.sizes[shown.shown], MAP_SIZE)
    pixels = shown.images.permute(0, 2, 3, 1).numpy()
    draw_boxes(pixels, [boxes.numpy() for boxes in truth], rows, path, captions=shown.captions)
