"""What ``alignmixup localize`` does with one run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data import ImageData
from alignmixup.data.boxes import BoxData, load_boxes
from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.cam import ClassActivation, Kind
from alignmixup.evaluation.localization.contour_boxes import Contours, CutTable
from alignmixup.evaluation.localization.image_pass import MAP_SIZE, ImagePass, localize
from alignmixup.evaluation.localization.protocols import cutmix_top1, tabulate_crops, top1_localization
from alignmixup.outside import require
from alignmixup.runs.folder import RunFolder
from alignmixup.training.build import build_loaders, build_model, example_images, load_data, load_model_weights
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine

T = TypeVar("T")
_OF_FILES = ("cub", "imagenet", "folder")
Tabulate = Callable[[Iterator[Tensor], Sequence[Tensor], Tensor], CutTable]
Watcher = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True)
class Task:
    """What is asked of every run.

    Args:
        boxes: where the boxes are, if not with the images.
        resize: side of the images that the network sees; None for that of its training.
        contours: which contours are counted.
        step: distance between thresholds.
        kind: "auto", "cam" or "gradcam".
        layer: layer of Grad-CAM, or None.
        limit: number of images, or None for all.
        pictures: number of images to keep with their maps.
        maps_out: folder for score maps, or None.
        with_crop: do the protocol of the CutMix paper too.
        overrides: of the configuration.
    """

    boxes: Path | None
    resize: int | None
    contours: Sequence[Contours]
    step: float
    kind: Kind
    layer: str | None
    limit: int | None
    pictures: int
    maps_out: Path | None
    with_crop: bool
    overrides: Sequence[str]


@dataclass(frozen=True, eq=False)
class Found:
    """What one run gave.

    Args:
        record: numbers, as they are stored.
        boxes: of the images that were looked at.
        whole: the pass over them.
        images: (P, 3, h, w) of the pictures, in [0, 1].
        maps: (P, h, w) of the pictures.
        shown: (P,) which images the pictures are.
        captions: their classes.
    """

    record: dict[str, Any]
    boxes: BoxData
    whole: ImagePass
    images: Tensor
    maps: Tensor
    shown: Tensor
    captions: Sequence[str]


def localize_run(folder: RunFolder, task: Task) -> Found:
    """Load the network of a run, map the test images of its data set, measure.

    Raises:
        ValueError, OSError: run, data or boxes that cannot be used.
    """
    config = folder.read_config([*task.overrides, "data.validation=0"])  # boxes belong to the test images
    dataset, boxes = load_whole_images(config, task)
    pictures = _Pictures(spread(len(boxes), min(task.pictures, len(boxes))))
    watchers: list[Watcher] = [pictures.see]
    if task.maps_out is not None:
        watchers.append(_Writer(task.maps_out / folder.path.name, boxes.paths).see)
    with closing(Engine(config.train)) as engine:
        model = build_model(config, dataset)
        load_model_weights(folder.weights, model)
        model = engine.place(model)
        look = example_images(config, dataset, engine)
        activation = ClassActivation(model, look, kind=task.kind, layer=task.layer)

        def go(views: ImageData, tabulate: Tabulate, title: str, watchers: Sequence[Watcher]) -> ImagePass:
            loader = build_loaders(config, views, engine)[1]
            batches = with_bar(loader, title, total=len(loader))
            table = partial(_tabulated, tabulate, boxes)
            return localize(activation, batches, table, autocast=engine.autocast, watchers=watchers)

        whole = go(dataset, tabulate_boxes, folder.path.name, watchers)
        record = _describe(config, folder, dataset, activation, engine.device) | measure(whole, task)
        if task.with_crop:
            crops = go(replace(dataset, test_view="squeezed_center"), tabulate_crops, "centre crops", ())
            top1 = cutmix_top1(crops.table, crops.correct)
            record["cutmix_paper"] = {"error_percent": crops.error_percent, "top1_localization_percent": top1}
    captions = [dataset.class_names[label] for label in boxes.labels[pictures.chosen].tolist()]
    return Found(record, boxes, whole, pictures.pixels(dataset), pictures.score_maps(), pictures.chosen, captions)


def measure(found: ImagePass, task: Task) -> dict[str, Any]:
    """Every number of a pass, as it is stored; percentages, but for thresholds."""
    top1 = top1_localization(found.table, found.correct, step=task.step)
    return {
        "error_percent": found.error_percent,
        "top1_localization_percent": top1,
        **count_boxes(found.table, task.contours, task.step),
    }


def count_boxes(table: CutTable, contours: Sequence[Contours], step: float) -> dict[str, Any]:
    """Box accuracies of a table, as they are stored."""
    counted: dict[str, Any] = {"contours": {}, "curves_percent": {}}
    for which in contours:
        accuracy = count_accuracy(table, contours=which, step=step)
        levels = [f"{level:g}" for level in accuracy.iou]
        counted["contours"][which] = {
            "max_box_acc_percent": accuracy.max_box_acc,
            "max_box_acc_v2_percent": accuracy.max_box_acc_v2,
            "at_iou_percent": dict(zip(levels, accuracy.max_box_acc_at.tolist(), strict=True)),
            "best_threshold_at_iou": dict(zip(levels, accuracy.best_thresholds.tolist(), strict=True)),
        }
        counted["curves_percent"][which] = dict(zip(levels, accuracy.curves.tolist(), strict=True))
    return counted


def load_whole_images(config: Config, task: Task) -> tuple[ImageData, BoxData]:
    """The data set of a run with all of each test image in view, and its boxes; ``task.limit`` images of it.

    Raises:
        ConfigError: a protocol that needs image files where there are none.
    """
    options = config.data
    of_files: dict[str, Any] = {"in_memory": False, "test_view": "whole"} if options.name in _OF_FILES else {}
    if task.with_crop and not of_files:
        raise ConfigError(f"--cutmix-paper scales images from their files; {options.name} is in memory")
    whole = replace(options, image_size=task.resize or options.image_size)
    dataset = load_data(replace(config, data=whole), test_only=True, **of_files)
    boxes = load_boxes(options.name, root=options.root, dataset=dataset, source=task.boxes)
    if task.limit is not None and task.limit < len(boxes):
        index = spread(len(boxes), task.limit)
        dataset, boxes = replace(dataset, test=dataset.test.select(index)), boxes.select(index)
    return dataset, boxes


def spread(count: int, wanted: int) -> Tensor:
    """``wanted`` of ``count`` indices, evenly spaced: images of a data set often lie class by class."""
    return (torch.arange(wanted) * count) // max(wanted, 1)


def with_bar(items: Iterable[T], title: str, *, total: int) -> Iterable[T]:
    """The items, with a bar while they are worked on."""
    track: Callable[..., Iterable[T]] = require("rich.progress").track
    return track(items, description=title, total=total, transient=True)


def _tabulated(tabulate: Tabulate, boxes: BoxData, maps: Iterator[Tensor]) -> CutTable:
    return tabulate(maps, boxes.boxes, boxes.sizes)


def _describe(
    config: Config, folder: RunFolder, dataset: ImageData, activation: ClassActivation, device: torch.device
) -> dict[str, Any]:
    place = activation.place
    return {
        "run": str(folder.path),
        "method": config.method.name,
        "model": config.model.name,
        "data": config.data.name,
        "seed": config.train.seed,
        "images": len(dataset.test),
        "input_pixels": dataset.image_size,
        "map_pixels": MAP_SIZE[0],
        "activation": place.kind,
        "layer": place.layer,
        "device": str(device),
    }


class _Pictures:
    """Keeps images and maps of a few chosen images as they pass by."""

    def __init__(self, chosen: Tensor) -> None:
        self.chosen = chosen
        self._images: list[Tensor] = []
        self._maps: list[Tensor] = []

    def see(self, done: int, images: Tensor, maps: Tensor) -> None:
        own = self.chosen[(self.chosen >= done) & (self.chosen < done + len(images))] - done
        self._images.append(images[own.to(images.device)].float().cpu())
        self._maps.append(maps[own])

    def pixels(self, dataset: ImageData) -> Tensor:
        """(P, C, h, w) in [0, 1], of the size of the maps."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
        images = torch.cat(self._images) * std + mean
        scaled = F.interpolate(images, size=MAP_SIZE, mode="bilinear", align_corners=False)
        return scaled.clamp(0, 1).expand(-1, 3, -1, -1)

    def score_maps(self) -> Tensor:
        """(P, h, w)."""
        return torch.cat(self._maps)


class _Writer:
    """Writes each score map as ``FOLDER/PATH OF THE IMAGE.npy``, float32."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder, self._paths = folder, paths
        self._numpy = require("numpy")

    def see(self, done: int, images: Tensor, maps: Tensor) -> None:
        for path, score_map in zip(self._paths[done : done + len(maps)], maps, strict=True):
            file = self._folder / f"{path}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            self._numpy.save(file, score_map.float().numpy())
