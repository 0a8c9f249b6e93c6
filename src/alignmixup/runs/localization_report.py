"""Record and figures of the localisation of one or several networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from alignmixup.data.decode import with_bar
from alignmixup.evaluation.localization.box_accuracy import scale_to_maps
from alignmixup.evaluation.localization.contour_boxes import Contours, thresholds
from alignmixup.evaluation.localization.image_pass import MAP_SIZE
from alignmixup.evaluation.localization.protocols import tabulate_centre
from alignmixup.evaluation.summary import group_runs
from alignmixup.figures.save import FigureKind, figures_to_draw
from alignmixup.figures.score_maps import MapRow, draw_boxes, draw_threshold_curves
from alignmixup.files import locked
from alignmixup.records import write_sealed
from alignmixup.runs.comparison.results import averaged
from alignmixup.runs.loading import as_run
from alignmixup.runs.localization import Bar, Localization, Shown, count_boxes, measure_localization
from alignmixup.runs.measurements import check_alone
from alignmixup.runs.options.base import check_arguments
from alignmixup.runs.options.localization import LocalizationProtocol
from alignmixup.runs.record import environment, source_revision
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import circumstances_of

FORMAT = 1
CENTRE = "centred box"
_FILE = "localization.json"


def localize(
    run: Run | str | Path, *, out: str | Path | None = None, bar: Bar = with_bar, **options: Any
) -> dict[str, Any]:
    r"""Measure how well one network localises.

    Args:
        run: the network, or its run folder.
        out: folder for ``localization.json`` and figures; None writes nothing.
        bar: passes batches on and shows how many.
        options: those of `LocalizationProtocol`; what cannot be used is a ValueError or an OSError.

    Returns:
        The numbers, ready for JSON: percentages, but for thresholds.

    Example:
        >>> from pathlib import Path
        >>> import torch
        >>> from PIL import Image
        >>> from alignmixup import models, runs
        >>> for path in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png"):
        ...     Path("pictures", path).parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40, 30)).save(Path("pictures", path))
        >>> size = Path("boxes.csv").write_text("test/cat/3.png,5,5,20,20\ntest/dog/4.png,0,0,39,29\n")
        >>> torch.save(models.build("vgg16_gap", num_classes=2).state_dict(), "mine.pth")
        >>> where = ["data.root=pictures", "data.image_size=32", "train.device=cpu", "data.workers=0"]
        >>> options = {"data": "folder", "checkpoint": "mine.pth", "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"}
        >>> numbers = runs.localize(runs.load("vgg16_gap", overrides=where, **options), boxes="boxes.csv")
        >>> numbers["images"], sorted(numbers["contours"])
        (2, ['all', 'largest'])
    """
    check_arguments(out=out, bar=bar)
    protocol, run = LocalizationProtocol(**options), as_run(run)
    if out is None:
        return measure_localization(run, protocol, bar=bar).record
    with reporting_to(Path(out)):
        measured = measure_localization(run, protocol, bar=bar)
        write_report([measured], Path(out), step=protocol.step, figures=protocol.figures)
    return measured.record


def reporting_to(out: Path) -> AbstractContextManager[None]:
    """Context in which no other process writes a report into the folder ``out``, which is made."""
    check_alone("a localisation")  # the other processes would wait for the lock
    return locked(out / _FILE)


def write_report(
    measured: Sequence[Localization], out: Path, *, step: float, figures: FigureKind = "png"
) -> dict[str, Any]:
    """Write ``localization.json`` and figures: ``localization_curves`` and, of images, ``localization_boxes``.

    Returns:
        What the JSON file holds.
    """
    records = [one.record for one in measured]
    groups = grouped(records)
    contours: list[Contours] = list(records[0]["contours"])
    centre = count_boxes(tabulate_centre(measured[0].boxes, measured[0].sizes, size=MAP_SIZE[0]), contours, step)
    results = {
        "format": FORMAT,
        "data": records[0]["data"],
        "images": records[0]["images"],
        "step": step,
        "groups": [_summary(name, group) for name, group in groups.items()],
        "centre": centre,
        "runs": records,
        "environment": environment(torch.device(records[0].get("device", "cpu"))),
        "revision": source_revision(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_sealed(out / _FILE, results)
    for file in figures_to_draw(out / "localization_curves.png", figures):
        _draw_curves(results, file)
    if drawn := [(one.record, one.shown) for one in measured if one.shown]:
        for file in figures_to_draw(out / "localization_boxes.png", figures):
            _draw_pictures(groups, drawn, file)
    return results


def check_together(runs: Sequence[Run], maps_out: Path | None) -> None:
    """Refuse runs that make no table together, before any is measured.

    Raises:
        ValueError: runs on different images, two of one configuration and seed, or two whose maps have one place.
    """
    grouped([circumstances_of(run) for run in runs])
    first: dict[str, str] = {}
    for run in runs if maps_out else ():
        if run.title in first:
            raise ValueError(
                f"--maps-out {maps_out}: the maps of {first[run.title]} and {run.name} would both go to "
                f"{maps_out}/{run.title}; measure them one at a time, each with a --maps-out of its own"
            )
        first[run.title] = run.name


def grouped(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs that differ in their seed alone: folders NAME-seed0, NAME-seed1... of one configuration, by its name.

    Raises:
        ValueError: runs on different images, or two of one configuration and seed.
    """
    seen = {(record["data"], record.get("settings", {}).get("images", ""), record.get("images")) for record in records}
    if len(seen) > 1:
        named = sorted(" ".join(str(part) for part in one if part not in ("", None)) for one in seen)
        raise ValueError(f"the runs are on different images ({', '.join(named)}): measure one data set at a time")
    return group_runs(records, lambda record: re.sub(r"-seed\d+$", "", Path(record["run"]).resolve().name))


def _summary(name: str, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = {key: [numbers_of(record)[key] for record in group] for key in numbers_of(group[0])}
    return {
        "name": name,
        "runs": [record["run"] for record in group],
        "seeds": [record.get("seed") for record in group],
        **averaged(values),
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


def _draw_pictures(
    groups: Mapping[str, Sequence[Mapping[str, Any]]], drawn: Sequence[tuple[dict[str, Any], Shown]], path: Path
) -> None:
    """Boxes of each run at its own best threshold for an overlap of one half; the first seed of each group."""
    of_run = {record["run"]: shown for record, shown in drawn}
    rows = []
    for name, group in groups.items():
        record = group[0]
        if record["run"] not in of_run:
            continue
        shown = of_run[record["run"]]
        counted = record["contours"].get("largest") or next(iter(record["contours"].values()))
        threshold = counted["best_threshold_at_iou"]["0.5"]
        match = shown.table.best_iou(torch.tensor([threshold], dtype=torch.float64), "largest")[:, 0].tolist()
        label = f"{name}\nthreshold {threshold:.2f}"
        boxes = shown.table.largest_at(threshold).numpy()
        rows.append(MapRow(label, shown.maps.numpy(), boxes, match, shown.correct.tolist()))
    shown = drawn[0][1]
    truth = [boxes.numpy() for boxes in scale_to_maps(shown.boxes, shown.sizes, MAP_SIZE)]
    draw_boxes(shown.images.permute(0, 2, 3, 1).numpy(), truth, rows, path, captions=shown.captions)
