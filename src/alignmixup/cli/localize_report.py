"""Table, record and figures of ``alignmixup localize``."""

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
from alignmixup.evaluation.localization.protocols import TOP1_CONVENTIONS, tabulate_centre
from alignmixup.evaluation.summary import spread
from alignmixup.figures.score_maps import MapRow, draw_boxes, draw_threshold_curves
from alignmixup.outside import require
from alignmixup.runs.comparison import mean_and_spread
from alignmixup.runs.localize import Found, count_boxes
from alignmixup.runs.record import environment, source_revision, write_json

FORMAT = 1
CENTRE = "centred box"


class Boxes(Protocol):
    """Boxes and original sizes of images."""

    @property
    def boxes(self) -> list[Tensor]:
        """(k, 4) int64 for each image."""

    @property
    def sizes(self) -> Tensor:
        """(N, 2) int64."""


def write_report(
    records: Sequence[dict[str, Any]],
    boxes: Boxes,
    found: Sequence[Found],
    out: Path,
    *,
    step: float,
) -> dict[str, Any]:
    """Write ``localization.json``, ``localization_curves.png`` and, for runs, ``localization_boxes.png``.

    Args:
        records: what each run or folder of maps gave.
        boxes: boxes of the images.
        found: what each run gave, with its pictures.
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
    if found and len(found[0].shown):
        _draw_pictures(found, out / "localization_boxes.png")
    return results


def print_tables(results: Mapping[str, Any]) -> None:
    """Print box accuracies, a line for each group and one for the centred box; for runs, Top-1 localisation too."""
    groups = results["groups"]
    centre = {"name": CENTRE, "mean": _numbers(results["centre"]), "runs": []}
    centre["spread"] = dict.fromkeys(centre["mean"])
    headings = {
        f"{key}.{which}": f"{name}, {which} contour{'s' if which == 'all' else ''}"
        for which in results["centre"]["contours"]
        for key, name in (("max_box_acc", "IoU 0.5"), ("max_box_acc_v2", "mean of 3 IoU"))
    } | {"max_box_acc.largest": "MaxBoxAcc", "max_box_acc_v2.all": "MaxBoxAccV2"}
    headings = {key: name for key, name in headings.items() if key in centre["mean"]}
    title = f"{results['data']}: boxes at the best threshold, % of {results['images']} images"
    _print(title, headings, [*groups, centre])
    if "error_percent" in groups[0]["mean"]:
        top1 = {"error_percent": "error", **{f"top1.{name}": name.replace("at-", "at-\n") for name in TOP1_CONVENTIONS}}
        top1 |= {"cutmix_paper": "CutMix paper"} if "cutmix_paper" in groups[0]["mean"] else {}
        _print("Top-1 localisation by convention (class right and IoU of 0.5), %", top1, groups)


def _print(title: str, headings: Mapping[str, str], lines: Sequence[Mapping[str, Any]]) -> None:
    table = require("rich.table").Table(title=title)
    table.add_column("", overflow="fold")
    for name in headings.values():
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("seeds", justify="right")
    for line in lines:
        table.add_row(line["name"], *(mean_and_spread(line, key) for key in headings), str(len(line["runs"]) or ""))
    require("rich.console").Console().print(table)


def _groups(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs that differ in their seed alone: folders NAME-seed0, NAME-seed1... of one model."""
    members: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        label = re.sub(r"-seed\d+$", "", Path(record["run"]).resolve().name)
        members.setdefault((label, record.get("model", "")), []).append(record)
    several = len({model for _, model in members}) > 1
    return [_summary(f"{label}, {model}" if several else label, group) for (label, model), group in members.items()]


def _summary(name: str, group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = {key: [_numbers(record)[key] for record in group] for key in _numbers(group[0])}
    return {
        "name": name,
        "runs": [record["run"] for record in group],
        "seeds": [record.get("seed") for record in group],
        "mean": {key: fmean(numbers) for key, numbers in values.items()},
        "spread": {key: spread(numbers) for key, numbers in values.items()},
    }


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
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


def _draw_pictures(found: Sequence[Found], path: Path) -> None:
    """Boxes of each run at its own best threshold for an overlap of one half; the first seed of each group."""
    first = {re.sub(r"-seed\d+$", "", one.record["run"]): one for one in reversed(found)}
    rows = []
    for name, one in reversed(first.items()):
        counted = one.record["contours"].get("largest") or next(iter(one.record["contours"].values()))
        threshold = counted["best_threshold_at_iou"]["0.5"]
        table = one.whole.table.select(one.shown)
        match = table.best_iou(torch.tensor([threshold], dtype=torch.float64), "largest")[:, 0].tolist()
        correct = one.whole.correct[one.shown].tolist()
        label = f"{Path(name).name}\nthreshold {threshold:.2f}"
        rows.append(MapRow(label, one.maps.numpy(), table.largest_at(threshold).numpy(), match, correct))
    shown = found[0]
    truth = scale_to_maps([shown.boxes.boxes[i] for i in shown.shown], shown.boxes.sizes[shown.shown], MAP_SIZE)
    pixels = shown.images.permute(0, 2, 3, 1).numpy()
    draw_boxes(pixels, [boxes.numpy() for boxes in truth], rows, path, captions=shown.captions)
