"""Images per second from memory to mixed batch, and through the trainer, against the usual loops."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor

from alignmixup.benchmarks.measure import against_first, interleave
from alignmixup.benchmarks.report import Report, has
from alignmixup.benchmarks.usual_loops import (
    CLASSES,
    MEAN,
    SIDE,
    STD,
    Mix,
    Pass,
    Task,
    drain,
    plain_epoch,
    timm_mix,
    usual_batches,
)
from alignmixup.data import BatchLoader, ImageData, Split
from alignmixup.data.transforms.augment import preset
from alignmixup.methods.cutmix import CutMix
from alignmixup.methods.mixup import Mixup
from alignmixup.methods.switch import Switch
from alignmixup.training.build import build_loaders, build_mixer, build_model
from alignmixup.training.config import Config, MethodConfig, ModelConfig, TrainConfig
from alignmixup.training.engine import Engine
from alignmixup.training.trainer import Trainer

Groups = Mapping[str, Mapping[str, Pass]]  # by what is compared, then by case; ours comes first


def run(options: argparse.Namespace) -> Report:
    """Time loading, mixing and training."""
    task = make_task(options)
    train = TrainConfig(epochs=1, batch_size=task.batch, drop_last=True, device=options.device)
    rows: list[dict[str, Any]] = []
    with closing(Engine(train)) as engine:
        parts: dict[str, Callable[[], Groups]] = {
            "loading": partial(loading, task),
            "mixing": partial(mixing, task),
            "training": partial(training, task, engine),
        }
        for part, make in parts.items():
            groups = make()
            cases = {f"{group}{case}": one for group, inside in groups.items() for case, one in inside.items()}
            taken = interleave(cases, repeats=options.repeats, device=task.device)
            for group, inside in groups.items():
                seconds = {case: taken[f"{group}{case}"] for case in inside}
                rows += [{"part": part, **row} for row in compare(group, seconds, task)]
    notes = [f"{name} is not installed: its cases are left out" for name in ("torchvision", "timm") if not has(name)]
    notes.append("mixing: in place in timm, so that it need not write the images that it leaves alone")
    notes.append("parts of a millisecond on several threads mean little on a busy machine: try --threads 1 there")
    notes.append("training: an epoch and the test of one image; ratios to the first case with the same mixing")
    keys = ("images", "batch", "workers", "width", "repeats")
    return Report("loading", {key: getattr(options, key) for key in keys}, rows, notes)


def make_task(options: argparse.Namespace) -> Task:
    """Random bytes and labels, the same in every run; ValueError for an option out of range."""
    if options.batch < 2 or options.batch % 2:
        raise ValueError(f"--batch must be an even number >= 2 (timm mixes no odd ones), got {options.batch}")
    if options.images < options.batch:
        raise ValueError(f"--images must be >= --batch, got {options.images} and {options.batch}")
    if options.workers < 0 or options.width < 1:
        raise ValueError(f"--workers must be >= 0 and --width >= 1, got {options.workers} and {options.width}")
    generator = torch.Generator().manual_seed(0)
    return Task(
        images=torch.randint(256, (options.images, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8),
        labels=torch.randint(CLASSES, (options.images,), generator=generator),
        batch=options.batch,
        workers=options.workers,
        width=options.width,
        device=torch.device(options.device),
    )


def compare(group: str, seconds: Mapping[str, list[float]], task: Task) -> list[dict[str, Any]]:
    """One row for each case, with ratios to the first, round by round."""
    found = against_first(seconds, images=task.batches * task.batch, per={"ms per batch": task.batches})
    return [{"case": f"{group}{case}", **row} for case, row in found.items()]


def loading(task: Task) -> Groups:
    """Passes that make augmented, normalised batches on the device."""
    cases: dict[str, Pass] = {"ours": partial(drain, our_batches(task))}
    if has("torchvision"):
        for kind in ("v1 on PIL", "v2 on tensors"):
            for workers in sorted({task.workers, 0}, reverse=True):
                batches = usual_batches(task, kind=kind, workers=workers)
                cases[f"torchvision {kind}, workers: {workers}"] = partial(drain, batches)
    return {"": cases}


def mixing(task: Task) -> Groups:
    """Passes that mix a batch again and again, as often as a pass over the images would."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(task.batch, 3, SIDE, SIDE, generator=generator).to(task.device)
    y = task.labels[: task.batch].to(task.device)
    groups: dict[str, dict[str, Mix]] = {
        "mixup or cutmix: ": {"ours": Switch(num_classes=CLASSES)},
        "mixup: ": {"ours": Mixup(num_classes=CLASSES)},
        "cutmix: ": {"ours": CutMix(num_classes=CLASSES)},
    }
    if has("timm"):
        for group, (mixup, cutmix) in zip(groups, ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)), strict=True):
            groups[group]["timm"] = timm_mix(mixup, cutmix)
    if has("torchvision"):
        from torchvision.transforms import v2

        mixup, cutmix = v2.MixUp(num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)
        for group, mix in zip(groups, (v2.RandomChoice([mixup, cutmix]), mixup, cutmix), strict=True):
            groups[group]["torchvision v2"] = mix
    return {
        group: {case: _mix_often(mix, x.clone(), y, task.batches) for case, mix in inside.items()}
        for group, inside in groups.items()
    }


def training(task: Task, engine: Engine) -> Groups:
    """Epochs of training, without mixing and with mixup or CutMix."""
    groups: dict[str, dict[str, Pass]] = {
        "no mixing: ": {
            "ours": trainer_epoch(task, engine, method="baseline"),
            "plain loop over our batches": plain_epoch(task, our_batches(task), None),
        },
        "mixup or cutmix: ": {"ours": trainer_epoch(task, engine, method="switch")},
    }
    if has("torchvision"):
        name = f"plain loop, torchvision v1 on PIL, workers: {task.workers}"
        batches = usual_batches(task, kind="v1 on PIL", workers=task.workers)
        groups["no mixing: "][name] = plain_epoch(task, batches, None)
        if has("timm"):
            groups["mixup or cutmix: "][f"{name}, timm"] = plain_epoch(task, batches, timm_mix(1.0, 1.0))
    return groups


def trainer_epoch(task: Task, engine: Engine, *, method: str) -> Pass:
    """An epoch through the package's trainer, with the test of one image that follows its last epoch."""
    dataset = ImageData(
        name="random",
        train=Split(task.images, task.labels),
        test=Split(task.images[:1], task.labels[:1]),
        class_names=tuple(str(label) for label in range(CLASSES)),
        mean=MEAN,
        std=STD,
        image_size=SIDE,
        augment="crop4_flip",
    )
    config = Config(
        model=ModelConfig("preact_resnet18", {"width": task.width}),
        method=MethodConfig(method),
        train=TrainConfig(epochs=1, batch_size=task.batch, drop_last=True, device=task.device.type),
    )
    train_loader, test_loader = build_loaders(config, dataset, engine)
    model = engine.place(build_model(config, dataset))
    mixer = build_mixer(config, model, dataset)
    return lambda: Trainer(
        config=config, engine=engine, model=model, mixer=mixer, train_loader=train_loader, test_loader=test_loader
    ).fit()


def our_batches(task: Task) -> BatchLoader:
    """The package's loader with the usual augmentation of CIFAR."""
    return BatchLoader(
        Split(task.images, task.labels),
        batch_size=task.batch,
        mean=MEAN,
        std=STD,
        augment=preset("crop4_flip"),
        shuffle=True,
        drop_last=True,
        device=task.device,
    )


def _mix_often(mix: Mix, x: Tensor, y: Tensor, times: int) -> Pass:
    def mix_often() -> None:
        for _ in range(times):
            mix(x, y)

    return mix_often
