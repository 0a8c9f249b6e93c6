"""A trained network with all that belongs to it: a run folder, or a model by name with weights from elsewhere."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alignmixup.near import alternatives
from alignmixup.records import read_record
from alignmixup.runs.checkpoint import check_published, load_checkpoint, outputs_of, published_facts, read_checkpoint
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.plan import FILE, NetworkChoice, check_arguments
from alignmixup.training.config_file import DEFAULT, FREE_KEYS, ConfigError, agreed, check_keys
from alignmixup.training.config_file import load as load_config
from alignmixup.training.foreign import only_read

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from alignmixup.data import ImageData
    from alignmixup.evaluation.paths.pair_maps import Alignment, Pairs
    from alignmixup.evaluation.paths.pairs import Classes
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.methods.base import Mixer
    from alignmixup.taps import Layout
    from alignmixup.training.config import Config

_OF_ANYBODY = ("folder", "imagenet")  # names under which many data sets are read
# how the test images of a set are shown whose classes others took new pictures of: side and normalisation
_SHOWN = {"cifar10": (32, "cifar10"), "cifar100": (32, "cifar10"), "tiny-imagenet": (64, "cifar10")}
_SHOWN |= dict.fromkeys(_OF_ANYBODY, (224, "imagenet"))
_log = logging.getLogger(__name__)
_RUN_KEYS = (*FREE_KEYS, "train.precision", "train.channels_last")


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network with its circumstances, as `load` finds it.

    ``record``, ``data``, ``model``, ``mixer`` and ``decoder`` are loaded when they are first asked for, and kept.

    Attributes:
        name: the run folder or the model's name, as given.
        config: data, model, method and where to compute.
        weights: file of the weights; None for those that a library publishes.
        folder: the run folder; None for a model by name.
        choice: which weights of the file, and how a model by name sees its images and names their classes.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> record = runs.train("digits/mixup", "runs/quick", overrides=quick)
        >>> run = runs.load("runs/quick")
        >>> run.method, run.data.num_classes, run.model.training
        ('mixup', 10, False)
    """

    name: str
    config: Config
    weights: Path | None
    folder: RunFolder | None
    choice: NetworkChoice = field(default_factory=NetworkChoice)

    @property
    def method(self) -> str:
        """What a table groups by: the mixing method, or the name of the model."""
        return self.config.method.name.rpartition(":")[2] if self.folder else self.name

    @property
    def seed(self) -> int | None:
        """Seed of the run; None for a model by name."""
        return self.config.train.seed if self.folder else None

    @property
    def title(self) -> str:
        """How figures call it."""
        return self.folder.path.name if self.folder else self.name

    @property
    def result_file(self) -> Path:
        """Where what is measured goes: into the run folder; of a model, into one for its name, weights and data."""
        data = self.config.data
        images = [data.name, *([Path(data.root).resolve().name] if data.name in _OF_ANYBODY else [])]
        if self.folder:
            other = _file_name(Path(FILE).stem, *images) + ".json"
            return self.folder.path / (FILE if self.choice.data is None else other)
        weights = [self.weights.stem] if self.weights else []
        size = [] if self.choice.size is None else [str(self.choice.size)]
        return Path("evaluations", _file_name(self.name, *weights, *images, *size), FILE)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights; empty for published ones."""
        sha256 = hashlib.sha256(self.weights.read_bytes()).hexdigest() if self.weights else ""
        return f"{sha256}:{self.choice.key}" if self.choice.key else sha256

    @property
    def shown(self) -> dict[str, Any]:
        """What was chosen beside the configuration, ready for JSON: crop and label map."""
        chosen: dict[str, Any] = {} if self.choice.crop is None else {"crop": self.choice.crop}
        if self.label_map is not None:
            text = json.dumps(self.label_map, sort_keys=True)
            chosen["labels"] = f"{self.choice.labels}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"
            chosen["outputs"] = self.choice.outputs
        return chosen

    @cached_property
    def label_map(self) -> dict[str, int] | None:
        """The output of the network for each class folder, where they do not come in its order."""
        from alignmixup.data.label_map import read_label_map

        return read_label_map(self.choice.labels) if self.choice.labels else None

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """What ``record.json`` holds; None where there is none, a ValueError where it is damaged."""
        return read_record(self.folder.record) if self.folder and self.folder.record.is_file() else None

    @cached_property
    def data(self) -> ImageData:
        """The data set, as the run was trained and tested on it; an OSError or ValueError says what is missing.

        Only the test images where ``choice.data`` names others.
        """
        return self.load_data(test_only=self.folder is None or self.choice.data is not None)

    @cached_property
    def device(self) -> torch.device:
        """Where ``model`` lies: ``train.device`` of the configuration."""
        from alignmixup.training.engine import choose_device

        return choose_device(self.config.train.device)

    @cached_property
    def model(self) -> nn.Module:
        """The network with its weights on ``device``, in evaluation mode; errors as of `network`."""
        return self.network(self.data).to(self.device).eval()

    @cached_property
    def mixer(self) -> Mixer:
        """The method for ``model`` as configured, as at the start of training.

        Mixers pass batches through unmixed while the model is in evaluation mode: call ``model.train()`` to mix.
        """
        from alignmixup.training.build import build_mixer

        return build_mixer(self.config, self.model, self.data)

    @property
    def has_decoder(self) -> bool:
        """Whether the method trains a decoder."""
        from alignmixup import methods
        from alignmixup.methods.alignmixup_ae import AlignMixupAE

        return bool(self.folder) and issubclass(methods.load(self.config.method.name), AlignMixupAE)

    @cached_property
    def decoder(self) -> AlignMixupAE:
        """The decoder that was trained with the network, from its checkpoint; a ValueError where there is none."""
        from alignmixup.training import checkpoint
        from alignmixup.training.build import build_mixer

        if not self.folder or not self.has_decoder:
            config = f"--config {self.folder.path / 'config.toml'} " if self.folder else ""
            layer = self.config.method.options.get("layer")  # of another method it is left behind
            layer = f" method.layer={layer}" if isinstance(layer, str) else ""
            raise ValueError(
                f"{self.name} was trained by {self.config.method.name}, which has no decoder to show feature maps as "
                f"images: train one with `alignmixup train {config}--set method.name=alignmixup_ae{layer}`; "
                "`alignmixup morph RUN --measure 1000` needs none"
            )
        file = self.folder.checkpoint
        if not file.is_file():
            raise FileNotFoundError(f"no checkpoint at {file}: the decoder's weights are kept there")
        mixer = cast("AlignMixupAE", build_mixer(self.config, self.model, self.data))
        mixer.prepare(self._two_images())
        mixer.load_state_dict(checkpoint.load(file)["ranks"][0]["mixer"])
        return mixer

    def load_data(self, config: Config | None = None, **how: Any) -> ImageData:
        """The data set anew, with labels that are outputs of the network; ``how`` as in ``training.build.load_data``.

        ``config`` is another than that of the run.
        """
        from alignmixup.data.label_map import with_outputs
        from alignmixup.training.build import load_data

        dataset = load_data(config or self.config, test_crop=self.choice.crop, **how)
        if self.label_map is None:
            names = list(dataset.class_names)
            if self.folder is None and self.choice.data in _OF_ANYBODY and names != sorted(names):
                first = next(number for number, name in enumerate(sorted(names)) if name != names[number])
                text = "output %d is the folder %s, as numbers come; where it is %s (order of texts, as torchvision's "
                _log.info(text + "ImageFolder has it), give --labels FILE", first, names[first], sorted(names)[first])
            return dataset
        count = self._count_outputs(dataset)
        return with_outputs(dataset, self.label_map, count=count, source=self.choice.labels)

    def _count_outputs(self, dataset: ImageData) -> int:
        """How many classes the weights are for, whatever the data say."""
        name = self.config.model.name
        if self.weights is None:
            return published_facts(name).get("classes") or max((self.label_map or {}).values()) + 1
        from alignmixup.seeds import own_stream
        from alignmixup.training.build import build_model

        with own_stream():
            expected = build_model(self.config, dataset, start=False).state_dict()
        return outputs_of(read_checkpoint(self.weights, self.choice.key, expected), expected, dataset.num_classes)

    def network(self, dataset: ImageData) -> nn.Module:
        """The network with its weights, built anew for the classes and channels of ``dataset``, on the CPU.

        Raises:
            ConfigError: unknown model or option, or published weights for other classes.
            ValueError: weights of another model, or of one for another number of classes.
        """
        import torch

        from alignmixup.seeds import own_stream
        from alignmixup.training.build import build_model, check_fits, check_takes, fill, read_model_weights
        from alignmixup.training.trainer import check_class_names

        if self.record is not None:
            check_class_names(self.record, dataset.class_names, source=f"the run {self.name}")
        tensors = None
        if self.folder and self.weights in self.folder.all_weights:
            sums = (self.record or {}).get("weights_sha256", {})
            tensors = read_model_weights(self.weights, sha256=sums.get(self.weights.name))
            check_fits(self.config, dataset, tensors, self.weights)
        with own_stream():
            model = build_model(self.config, dataset, start=self.weights is None)
        if self.weights is None:
            check_published(self.config.model.name, dataset)
        elif tensors is not None:
            fill(model, tensors, self.weights)
        else:
            load_checkpoint(self.weights, self.choice.key, model, dataset)
        if self.record is None:
            check_takes(self.config, model, torch.zeros(1, dataset.channels, dataset.image_size, dataset.image_size))
        return model

    def images(self, index: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Test images by number: normalised ``x (N, C, H, W)`` and labels ``y (N,)`` on ``device``."""
        return next(self._batches(index, len(index)))

    def pairs(self, index: Tensor, *, batch_size: int = 100) -> Iterator[Pairs]:
        """Pairs of test images, by their numbers (count, 2), in batches on ``device``."""
        from alignmixup.evaluation.paths.pair_maps import Pairs

        for x, y in self._batches(index.flatten(), 2 * batch_size):
            yield Pairs(x[::2], x[1::2], y[::2], y[1::2])

    def draw_pairs(self, count: int, *, classes: Classes = "different", seed: int = 0) -> Tensor:
        """Numbers (count, 2) of test images at random; see ``evaluation.paths.pairs.draw_pairs``."""
        import torch

        from alignmixup.evaluation.paths.pairs import draw_pairs

        generator = torch.Generator().manual_seed(seed)
        return draw_pairs(self.data.test.labels, count, classes=classes, generator=generator)

    def alignment(self, *, epsilon: float | None = None, iterations: int | None = None) -> Alignment:
        """How positions are matched: as given, as in training where the method aligns, as in the paper elsewhere."""
        from alignmixup.evaluation.paths.pair_maps import Alignment
        from alignmixup.methods.alignmixup import AlignMixup

        known = {item.name for item in fields(Alignment)}
        chosen: dict[str, Any] = {key: value for key, value in self._options(AlignMixup).items() if key in known}
        given = {"epsilon": epsilon, "iterations": iterations}
        return Alignment(**(chosen | {key: value for key, value in given.items() if value is not None}))

    def layer(self, name: str | None = None) -> str:
        """The layer of that name, or the method's (the last of several), or the last one with positions.

        Raises:
            ValueError: no such layer; near names are listed.
        """
        from alignmixup.methods.base import HiddenMixer
        from alignmixup.taps import FeatureTap, probe

        wanted = name or self._options(HiddenMixer).get("layer")
        if isinstance(wanted, list):
            wanted = wanted[-1]
        if wanted is None:
            wanted = probe(self.model, self._two_images()).last()
        return FeatureTap.of(self.model).resolve(str(wanted))

    @property
    def layout(self) -> Layout | None:
        """Layout of the layers' outputs as the method was told it, if it was."""
        from alignmixup.methods.base import HiddenMixer

        return cast("Layout | None", self._options(HiddenMixer).get("layout"))

    def layer_use(self, layer: str) -> str:
        """What the classifier reads from a layer; see ``taps.layer_use``."""
        from alignmixup.taps import layer_use

        return layer_use(self.model, self._two_images(), layer, self.layout)

    def _two_images(self) -> Tensor:
        """What is enough to look at the network with."""
        return self.images([0, 0])[0]

    def _options(self, kind: type) -> Mapping[str, Any]:
        """Options of the method if it is of a kind: other methods may mean something else by the same names."""
        from alignmixup import methods

        return self.config.method.options if issubclass(methods.load(self.config.method.name), kind) else {}

    def _batches(self, index: Sequence[int] | Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        import torch

        from alignmixup.data import build_loaders

        part = replace(self.data, test=self.data.test.select(torch.as_tensor(index)))
        yield from build_loaders(part, batch_size=size, augment=None, device=self.device)[1]


def load(
    target: str | Path,
    *,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Run:
    """Find a trained network. Nothing heavy is loaded before it is asked for.

    A run folder is data: no code that it names runs, and nothing is fetched because it says so. ``trust`` allows both;
    see docs/security.md.

    Args:
        target: run folder; or as a text, the name of a model that ``models.build`` knows.
        overrides: such as ``data.root=DIR`` and ``train.device=cpu``; of a run, where it computes and nothing else.
        options: those of `NetworkChoice`, such as ``data``, ``checkpoint``, ``mean``, ``std``, ``labels`` and
            ``trust``.

    Raises:
        ConfigError: neither run nor model, a key that cannot be changed, weights or data that are not named, an option
            of a model for a run, or a run of outside modules without ``trust``.
        ValueError: a configuration that is not the record's, no such library, module or function, an option out of
            range, a label map that is none.
        FileNotFoundError: no weights or label map there.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> record = runs.train("digits/mixup", "runs/quick", overrides=quick)
        >>> run = runs.load("runs/quick")
        >>> run.model(run.images([0, 1])[0]).shape
        torch.Size([2, 10])
    """
    check_arguments(target=target, overrides=overrides)
    folder, choice = RunFolder(Path(target)), NetworkChoice(**options)
    overrides = choice.beside(overrides)
    if isinstance(target, Path) or folder.config.is_file():
        folder.check()
        for name in sorted(set(choice.of_a_model) - {"data"}):
            raise ConfigError(
                f"--{name} {choice.of_a_model[name]}: the run {target} shows images as in its training; --{name} is "
                "for a model by name"
            )
        check_keys(overrides, _RUN_KEYS, "an evaluation can change {} alone")
        config = folder.read_config(overrides)
        if choice.root and config.data.name == "digits":
            raise ConfigError(
                f"--root {choice.root}: the run {target} is tested on digits, which need no folder: leave it out; for "
                "the sets of --ood it is --set data.root=DIR"
            )
        if choice.data:
            config = _on_other_images(config, choice, str(target))
            _warn_of_training_images(folder.read_config(()), config, str(target))
        if not choice.trust:
            config = only_read(config, f"the run {folder.path}", overrides)
        folder.check_recorded()
        file = Path(choice.checkpoint) if choice.checkpoint else folder.weights_named(choice.weights)
        return Run(str(folder.path), config, _existing(file), folder, choice)
    from alignmixup import models

    known = models.available()
    if target not in known and ":" not in target:
        path = Path(target)
        seeds = sorted(str(one.parent) for one in path.parent.glob(f"{escape(path.name)}-seed*/config.toml"))
        seeds = [str(path.parent)] if path.is_file() and (path.parent / "config.toml").is_file() else seeds
        question = f"; did you mean {alternatives(seeds[:3])}?" if seeds else ""
        raise ConfigError(
            f"{target} is no run folder: it has no config.toml; nor is it a model ({', '.join(known)}, "
            f"package.module:function){question}"
        )
    if choice.weights != "last":
        raise ConfigError(f"--weights {choice.weights} is for a run: a model by name has those of --checkpoint alone")
    models.options(target)  # an unknown name is refused before any data are read
    config = _model_config(target, choice.data, overrides)
    if choice.checkpoint is None and not config.model.options.get("pretrained"):
        raise ConfigError(f"{target} has no weights: give --checkpoint FILE or --set model.pretrained=true")
    run = Run(target, config, _existing(Path(choice.checkpoint)) if choice.checkpoint else None, None, choice)
    run.label_map  # noqa: B018 - a map that is none shows before any data are read
    return run


def as_run(run: Run | str | Path) -> Run:
    """The run itself, or that in a folder.

    Raises:
        TypeError: neither; what `load` raises of a folder that holds none.
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | Path):
        raise TypeError(f"run must be a run folder, or what alignmixup.runs.load(...) gives, got {run!r:.100}")
    return load(run)


def _on_other_images(config: Config, choice: NetworkChoice, target: str) -> Config:
    """The configuration of a run with other test images of its classes, shown as its own are."""
    own, wanted = config.data, str(choice.data)
    if wanted not in _OF_ANYBODY or own.name not in _SHOWN or choice.root is None:
        raise ConfigError(
            f"--data {wanted}: the run {target} was trained on {own.name}. Other test images of the same classes are a "
            f"folder of CLASS/IMAGE: --data folder --root DIR, for runs of {', '.join(_SHOWN)}"
        )
    size, normalization = _SHOWN[own.name]
    data = replace(
        own,
        name=wanted,
        image_size=own.image_size or size,
        normalization=normalization if own.normalization == "default" else own.normalization,
        validation=0.0,
        subset=0,
        imbalance=1.0,
        test_split="default",
        download=False,
    )
    return replace(config, data=data)


def _warn_of_training_images(trained: Config, shown: Config, target: str) -> None:
    """Say so where the other images are those of the training: their error is no test error."""
    from alignmixup.data.sets.folder import find_test_split

    if trained.data.name not in _OF_ANYBODY:
        return
    own, root = Path(trained.data.root), Path(shown.data.root)
    training = own / "train" if (own / "train").is_dir() else own
    if (root / find_test_split(shown.data.name, root, flat=True)).resolve() == training.resolve():
        warnings.warn(
            f"--root {root} holds the images that {target} was trained on, so that this is no test error: without "
            "--data its own test images are measured",
            stacklevel=3,
        )


def _file_name(*parts: str) -> str:
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _model_config(name: str, data: str | None, overrides: Sequence[str]) -> Config:
    if data is None:
        raise ConfigError(f"{name} is a model by name: say on which images with --data NAME (and --root DIR)")
    others = [text for text in overrides if not text.strip().startswith(("data.", "model."))]
    check_keys(others, _RUN_KEYS, "the evaluation of a model by name can change data.*, model.* and {}")
    named = agreed(overrides, {"data.name": (f"--data {data}", data), "model.name": (name, name)})
    config = load_config(DEFAULT, ["method.name=baseline", *named])
    given = {text.partition("=")[0].strip() for text in overrides}  # other options are the default configuration's
    options = {key: value for key, value in config.model.options.items() if f"model.{key}" in given}
    return replace(config, model=replace(config.model, options=options))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(
            f"no weights at {file}: the run is not finished, was not asked to keep them (raw: train.ema_decay), or "
            "comes from a version that kept the last ones alone"
        )
    return file
