"""A trained network with all that belongs to it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alignmixup.records import EVALUATION_FILE, read_record
from alignmixup.runs.checkpoint import check_published, load_checkpoint, outputs_of, published_facts, read_checkpoint
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.options.network import NetworkChoice

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from alignmixup.data import ImageData
    from alignmixup.data.label_map import LabelMap
    from alignmixup.evaluation.paths.pair_maps import Alignment, Pairs
    from alignmixup.evaluation.paths.pairs import Classes
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.methods.base import Mixer
    from alignmixup.taps import Layout
    from alignmixup.training.config import Config

OF_ANYBODY = ("folder", "imagenet")  # names under which many data sets are read
_log = logging.getLogger(__name__)


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
        images = [data.name, *([Path(data.root).resolve().name] if data.name in OF_ANYBODY else [])]
        if self.folder:
            other = _file_name(Path(EVALUATION_FILE).stem, *images) + ".json"
            return self.folder.path / (EVALUATION_FILE if self.choice.data is None else other)
        weights = [self.weights.stem] if self.weights else []
        size = [] if self.choice.size is None else [str(self.choice.size)]
        return Path("evaluations", _file_name(self.name, *weights, *images, *size), EVALUATION_FILE)

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
    def label_map(self) -> LabelMap | None:
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
            if self.folder is None and self.choice.data in OF_ANYBODY and names != sorted(names):
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
        from alignmixup.training.build import build_model, check_fits, check_takes
        from alignmixup.training.checkpoint import check_class_names
        from alignmixup.training.weights import fill, read_model_weights

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


def _file_name(*parts: str) -> str:
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))
