"""The configuration of a run as frozen dataclasses, one per TOML table. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_type_hints

from alignmixup.options import Options, option

OptionValue = bool | int | float | str | list[Any]


@dataclass(frozen=True)
class Table(Options):
    """One table of the configuration. Constructing it checks the type and the range of every value."""

    def _called(self, name: str) -> str:
        return f"{self.table_name()}.{name}"

    @classmethod
    def table_name(cls) -> str:
        """Name of the table in the TOML file: ``OptimizerConfig`` is ``[optimizer]``."""
        return cls.__name__.removesuffix("Config").lower()


@dataclass(frozen=True)
class DataConfig(Table):
    """Which images, and how a training image is augmented."""

    name: str = option("digits", "digits, cifar10, cifar100, tiny-imagenet, cub, imagenet or folder")
    root: str = option("data", "folder that holds the data sets; digits needs none")
    download: bool = option(False, "fetch the data set into root when it is absent (cifar10, cifar100)")
    image_size: int = option(0, "side of the images in pixels; 0 is the data set's own", minimum=0)
    subset: int = option(0, "training images per class, the first ones; 0 takes all", minimum=0)
    imbalance: float = option(
        1.0,
        "how many times fewer training images the last class keeps than the first, the others in between; 1 keeps all",
        minimum=1,
    )
    validation: float = option(
        0.0,
        "training images held out to test on: a fraction below 1 or a number; 0 uses the test set",
        minimum=0,
    )
    normalization: str = option(
        "default",
        "mean and deviation: default, a preset such as cifar10, cifar100, half, or numbers as MEAN,.../STD,...",
    )
    augment: str = option(
        "default",
        "augmentation: default, none, crop4_flip, crop2_flip, ...; a policy may stand behind it, such as "
        "default+trivialaugment or crop4_flip+randaugment",
    )
    test_split: str = option("default", "imagenet and folder: name of the sub-folder to test on")
    workers: int = option(4, "loader processes for large image folders; small sets live in memory", minimum=0)


@dataclass(frozen=True)
class OpenTable(Table):
    """A table with a ``name`` and the named part's own options, which that part checks when it is built."""

    name: str = option("", "replaced by the subclasses")
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def _check_options(self) -> None:
        for key, value in self.options.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{self.table_name()}.{key} must be a finite number, got {value}")


@dataclass(frozen=True)
class ModelConfig(OpenTable):
    """Which network; its other keys are that network's own options, such as ``width``."""

    name: str = option(
        "preact_resnet18",
        "preact_resnet18, vgg16_gap, resnet50_gap, torchvision:NAME, timm:NAME or package.module:function",
    )


@dataclass(frozen=True)
class MethodConfig(OpenTable):
    """Which mixing method; its other keys are that method's own options, such as ``alpha``."""

    name: str = option("alignmixup", "a name listed by `alignmixup methods`, or package.module:Class")


@dataclass(frozen=True)
class OptimizerConfig(Table):
    """How weights are updated."""

    name: str = option("sgd", "which optimiser", choices=("sgd", "adamw", "muon"))
    lr: float = option(0.05, "learning rate at factor 1 of the schedule; used as written, never rescaled", above=0)
    head_lr_factor: float = option(1.0, "lr of the head is so many times lr; the model says what its head is", above=0)
    layer_decay: float = option(
        1.0,
        "lr of each block is so many times that of the block behind it, from the head back to the first layer",
        above=0,
        maximum=1,
    )
    freeze: bool = option(False, "train the head alone; the rest, its batch-norm statistics too, stays as it is")
    momentum: float = option(0.9, "momentum of sgd and muon", minimum=0, below=1)
    nesterov: bool = option(False, "Nesterov momentum for sgd and muon")
    beta1: float = option(0.9, "first-moment decay of adamw, and of what muon leaves to it", minimum=0, below=1)
    beta2: float = option(0.999, "second-moment decay of adamw, and of what muon leaves to it", minimum=0, below=1)
    weight_decay: float = option(1e-4, "weight decay", minimum=0)
    decay_norm_and_bias: bool = option(True, "apply weight decay to normalisation parameters and biases too")

    def _check_options(self) -> None:
        if self.nesterov and (self.name == "adamw" or self.momentum == 0):
            raise ValueError(
                'optimizer.nesterov = true needs optimizer.name = "sgd" or "muon" and optimizer.momentum > 0, '
                f"got name = {self.name!r}, momentum = {self.momentum}"
            )


@dataclass(frozen=True)
class ScheduleConfig(Table):
    """How the learning rate changes over the run."""

    name: str = option("cosine", "shape after the warm-up", choices=("step", "cosine", "constant"))
    milestones: tuple[int, ...] = option((), "step: epochs (from 0) that are the first with a smaller rate", minimum=1)
    factor: float = option(0.1, "step: multiplier at each milestone", above=0, maximum=1)
    final_factor: float = option(0.0, "cosine: fraction of lr reached at the end", minimum=0, maximum=1)
    warmup_epochs: float = option(0.0, "linear warm-up from 0, always updated per step", minimum=0)
    update: str = option("epoch", "resolution after the warm-up", choices=("epoch", "step"))

    def _check_options(self) -> None:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"schedule.milestones must increase, got {list(self.milestones)}")
        if self.name == "step" and not self.milestones:
            raise ValueError('schedule.name = "step" needs schedule.milestones, such as [100, 150]')


@dataclass(frozen=True)
class TrainConfig(Table):
    """The loop."""

    epochs: int = option(20, "passes over the training images", minimum=1)
    batch_size: int = option(32, "images per step and process", minimum=1)
    drop_last: bool = option(False, "leave out the incomplete last batch of an epoch")
    accumulation: int = option(1, "steps whose gradients are averaged before one update", minimum=1)
    loss: str = option(
        "cross_entropy",
        "cross_entropy, bce_softmax (binary cross-entropy on softmax) or bce_logits (multi-label)",
        choices=("cross_entropy", "bce_softmax", "bce_logits"),
    )
    clip_norm: float = option(0.0, "largest gradient norm; 0 clips nothing", minimum=0)
    ema_decay: float = option(
        0.0, "decay of the weight average that is evaluated and saved; 0 is off", minimum=0, below=1
    )
    seed: int = option(0, "seed of weights, order, augmentation and mixing", minimum=0, maximum=2**31 - 1)
    device: str = option("auto", "auto takes cuda, then mps, then cpu", choices=("auto", "cpu", "cuda", "mps"))
    threads: int = option(
        0,
        "threads of one process on the cpu, as many as it has cores at most; 0 leaves torch's choice",
        minimum=0,
        maximum=1024,
    )
    precision: str = option(
        "fp32",
        "autocast precision, weights stay fp32; auto is bf16 where that is faster, else fp32",
        choices=("fp32", "bf16", "fp16", "auto"),
    )
    channels_last: bool = option(False, "memory layout of images and weights; faster with bf16/fp16 on cuda")
    compile: bool = option(False, "run the model through torch.compile")
    compile_mode: str = option(
        "default",
        "mode of torch.compile; reduce-overhead records CUDA graphs",
        choices=("default", "reduce-overhead", "max-autotune"),
    )
    checkpoint_every: int = option(1, "epochs between checkpoints; the last epoch is always saved", minimum=1)
    checkpoint_minutes: float = option(
        10.0, "minutes after which a checkpoint is due inside an epoch too; 0 saves between epochs only", minimum=0
    )
    trackers: tuple[str, ...] = option((), "experiment trackers", choices=("tensorboard", "wandb"))


@dataclass(frozen=True)
class EvaluationConfig(Table):
    """Test error during training."""

    batch_size: int = option(256, "images per evaluation step and process", minimum=1)
    every: int = option(1, "epochs between evaluations; the last epoch is always evaluated", minimum=1)


# 8x8 images keep a last map of 4x4 positions; the final norm makes aligning that map count.
_DIGITS_MODEL: dict[str, OptionValue] = {
    "variant": "A",
    "width": 8,
    "stem_stride": 1,
    "strides": [1, 2, 1, 1],
    "final_norm": True,
    "in_channels": 1,
}


@dataclass(frozen=True)
class Config:
    """A whole run. The defaults fit the digits; the bundled configurations leave nothing to them."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig(options=dict(_DIGITS_MODEL)))
    method: MethodConfig = field(default_factory=MethodConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if self.schedule.warmup_epochs > self.train.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be <= train.epochs = {self.train.epochs}, "
                f"got {self.schedule.warmup_epochs}"
            )

    def settled(self, precision: str) -> Config:
        """The run with ``precision`` in place of ``"auto"``."""
        if self.train.precision != "auto":
            return self
        return replace(self, train=replace(self.train, precision=precision))


TABLES: dict[str, type[Table]] = get_type_hints(Config)


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """The tables as plain dictionaries, lists and scalars, as a TOML file would hold them."""
    tables = {}
    for name, values in asdict(config).items():
        own = values.pop("options", {})
        flat = values | own
        tables[name] = {key: list(v) if isinstance(v, tuple) else v for key, v in flat.items()}
    return tables
