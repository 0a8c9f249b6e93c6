"""How well a trained network finds what it names: class activation maps against boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.data import ImageData
from alignmixup.data.boxes.data import BoxData, load_boxes
from alignmixup.data.decode import with_bar
from alignmixup.data.label_map import named_outputs
from alignmixup.data.sets.folder import find_test_split
from alignmixup.data.splits import evenly_spaced
from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.cam import ClassActivation
from alignmixup.evaluation.localization.contour_boxes import Contours, CutTable
from alignmixup.evaluation.localization.image_pass import MAP_SIZE, ImagePass
from alignmixup.evaluation.localization.image_pass import localize as localize_images
from alignmixup.evaluation.localization.protocols import cutmix_top1, tabulate_crops, top1_localization
from alignmixup.files import write_atomically
from alignmixup.normalization import Normalization
from alignmixup.runs.measurements import check_alone
from alignmixup.runs.options.localization import LocalizationProtocol
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import circumstances_of
from alignmixup.training.build import build_loaders, example_images
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine

T = TypeVar("T")
_OF_FILES = ("cub", "imagenet", "folder")
Tabulate = Callable[[Iterator[Tensor], Sequence[Tensor], Tensor], CutTable]
Watcher = Callable[[int, Tensor, Tensor], None]
Bar = Callable[..., Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Shown:
    """The images of a network that are drawn.

    Args:
        images: (P, 3, h, w) in [0, 1].
        maps: (P, h, w).
        captions: their classes.
        boxes: (k, 4) int64 of each.
        sizes: (P, 2) int64.
        table: what their maps gave.
        correct: (P,) bool, whether they were classified rightly.
    """

    images: Tensor
    maps: Tensor
    captions: Sequence[str]
    boxes: Sequence[Tensor]
    sizes: Tensor
    table: CutTable
    correct: Tensor


@dataclass(frozen=True, eq=False)
class Localization:
    """What one network, or one folder of stored maps, gave.

    Args:
        record: numbers, as they are stored.
        boxes: (k, 4) int64 of each image that was looked at.
        sizes: (N, 2) int64, original width and height.
        shown: the images that are drawn, if any.
    """

    record: dict[str, Any]
    boxes: Sequence[Tensor]
    sizes: Tensor
    shown: Shown | None = None


def measure_localization(run: Run, protocol: LocalizationProtocol, *, bar: Bar = with_bar) -> Localization:
    """Map the images that a network is tested on, measure, and keep a few for pictures."""
    check_alone("a localisation")
    config = on_unseen_images(run.config)
    dataset, boxes = load_whole_images(run, config, protocol)
    outputs = named_outputs(dataset) if run.label_map is not None and run.choice.outputs == "folders" else None
    pictures = _Pictures(evenly_spaced(len(boxes), min(protocol.pictures, len(boxes))))
    watchers: list[Watcher] = [pictures.see]
    if protocol.maps_out is not None:
        watchers.append(_Writer(Path(protocol.maps_out, run.title), boxes.paths).see)
    with closing(Engine(config.train)) as engine:
        model = engine.place(run.network(dataset))
        look = example_images(config, dataset, engine)
        activation = ClassActivation(model, look, kind=protocol.cam, layer=protocol.layer)

        def go(views: ImageData, tabulate: Tabulate, title: str, watchers: Sequence[Watcher]) -> ImagePass:
            def table(maps: Iterator[Tensor]) -> CutTable:
                return tabulate(maps, boxes.boxes, boxes.sizes)

            loader = build_loaders(config, views, engine)[1]
            batches = bar(loader, title, total=len(loader))
            how: dict[str, Any] = {"outputs": outputs, "autocast": engine.autocast, "watchers": watchers}
            return localize_images(activation, batches, table, **how)

        whole = go(dataset, tabulate_boxes, run.title, watchers)
        record = _describe(run, dataset, activation, engine.device) | {
            "outputs": dataset.num_classes if outputs is None else len(outputs),
            "error_percent": whole.error_percent,
            "top1_localization_percent": top1_localization(whole.table, whole.correct, step=protocol.step),
            **count_boxes(whole.table, protocol.counted, protocol.step),
        }
        if protocol.cutmix_paper:
            crops = go(replace(dataset, test_view="squeezed_center"), tabulate_crops, "centre crops", ())
            top1 = cutmix_top1(crops.table, crops.correct)
            record["cutmix_paper"] = {"error_percent": crops.error_percent, "top1_localization_percent": top1}
    return Localization(record, boxes.boxes, boxes.sizes, pictures.shown(dataset, boxes, whole))


def on_unseen_images(config: Config) -> Config:
    """The configuration that loads the images whose boxes are found, none of which trained the network.

    They are those of the test split, whatever was held out. Of a folder without one they are the held-out images.
    """
    data = config.data
    if not data.validation:
        return config
    folder = data.name in ("folder", "imagenet") and data.test_split == "default"
    if folder and find_test_split(data.name, Path(data.root), flat=True) == ".":
        return config
    return replace(config, data=replace(data, validation=0))


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


def load_whole_images(run: Run, config: Config, protocol: LocalizationProtocol) -> tuple[ImageData, BoxData]:
    """The data set of a run with all of each test image in view, and its boxes; ``protocol.limit`` images of it.

    ``config`` is what `on_unseen_images` gives.
    """
    options = config.data
    if run.choice.crop is not None:
        raise ConfigError(f"--crop {run.choice.crop}: localisation shows the whole of each image; leave --crop out")
    of_files: dict[str, Any] = {"in_memory": False, "test_view": "whole"} if options.name in _OF_FILES else {}
    if protocol.cutmix_paper and not of_files:
        raise ConfigError(f"--cutmix-paper scales images from their files; {options.name} is in memory")
    whole = replace(options, image_size=protocol.resize or options.image_size)
    dataset = run.load_data(replace(config, data=whole), test_only=True, **of_files)
    boxes = load_boxes(
        options.name, root=options.root, dataset=dataset, source=Path(protocol.boxes) if protocol.boxes else None
    )
    if protocol.limit is not None and protocol.limit < len(boxes):
        index = evenly_spaced(len(boxes), protocol.limit)
        dataset, boxes = replace(dataset, test=dataset.test.select(index)), boxes.select(index)
    return dataset, boxes


def _describe(run: Run, dataset: ImageData, activation: ClassActivation, device: torch.device) -> dict[str, Any]:
    place = activation.place
    return circumstances_of(run) | {
        "method": run.config.method.name if run.folder else run.method,
        "model": run.config.model.name,
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
        here = self.chosen[(self.chosen >= done) & (self.chosen < done + len(images))] - done
        self._images.append(images[here.to(images.device)].float().cpu())
        self._maps.append(maps[here])

    def shown(self, dataset: ImageData, boxes: BoxData, whole: ImagePass) -> Shown | None:
        """What was kept, the images scaled to the maps; None where nothing was to be."""
        if not len(self.chosen):
            return None
        images = Normalization.of(dataset.mean, dataset.std).undo(torch.cat(self._images))
        scaled = F.interpolate(images, size=MAP_SIZE, mode="bilinear", align_corners=False)
        own = boxes.select(self.chosen)
        return Shown(
            images=scaled.clamp(0, 1).expand(-1, 3, -1, -1),
            maps=torch.cat(self._maps),
            captions=[dataset.class_names[label] for label in own.labels.tolist()],
            boxes=own.boxes,
            sizes=own.sizes,
            table=whole.table.select(self.chosen),
            correct=whole.correct[self.chosen],
        )


class _Writer:
    """Writes each score map as ``FOLDER/PATH OF THE IMAGE.npy``, float32."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder, self._paths = folder, paths

    def see(self, done: int, images: Tensor, maps: Tensor) -> None:
        for path, score_map in zip(self._paths[done : done + len(maps)], maps, strict=True):
            file = self._folder / f"{path}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, partial(np.save, arr=score_map.float().numpy()))
