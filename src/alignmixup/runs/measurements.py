"""The measurements of an evaluation, one method a part."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from alignmixup.data import BatchLoader, Loader, Split, StreamLoader
from alignmixup.data.label_map import in_outputs, named_outputs
from alignmixup.data.sets.listing import few
from alignmixup.data.splits import hold_out
from alignmixup.evaluation.attack_checks import check_attack, passes
from alignmixup.evaluation.attack_names import AnyAttack, describe
from alignmixup.evaluation.attacks import Attack, robust_error
from alignmixup.evaluation.auto_attack import AutoAttack, auto_attack_error
from alignmixup.evaluation.batch_size import first_batch_size, with_fitting_batch_size
from alignmixup.evaluation.calibration import evaluate_calibration
from alignmixup.evaluation.corruptions.evaluate import SMALLEST, evaluate_corruptions
from alignmixup.evaluation.corruptions.folders import class_folders
from alignmixup.evaluation.error import error_interval, evaluate_error
from alignmixup.evaluation.ood import evaluate_ood
from alignmixup.evaluation.ood_sets import OodSet, build_ood_set
from alignmixup.evaluation.outputs import ChosenOutputs, Outputs, collect_outputs
from alignmixup.evaluation.representation.evaluate import check_labels, evaluate_representation
from alignmixup.evaluation.representation.evaluate import passes as looks
from alignmixup.runs.options.evaluation import Plan, ood_names
from alignmixup.runs.run import Run
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine

if TYPE_CHECKING:
    from alignmixup.data import FileSplit

_log = logging.getLogger(__name__)

CONVENTIONS = {
    "error": "arg-max of the logits in evaluation mode, no mixing; equal logits: the lower class; interval: 95 % "
    "bootstrap percentiles over the images, 10,000 resamples, seed 0",
    "weights": "those in the file named, by default of the last epoch; best and last-10 errors are the run's record",
    "calibration": "equal-width bins (lo, hi]; soft-max in float64; errors times 100; adaptive: equal mass; "
    "temperature fitted on the images at even places, measured on the others",
    "representation": "features: what the last linear layer reads; singular values of each class over the root of its "
    "number of images, relative ones over its root mean squared norm; segments between images of different classes at "
    "21 places; steps in one random direction an image, root mean square in units of 1/255, not clipped",
    "attacks": "maximum norm, or the Euclidean one where the name ends in -l2; white box, true label, cross-entropy, "
    "evaluation mode, float32; epsilon and step in units of pixels in [0, 1], before normalisation; every image "
    "attacked; error after the last iteration; autoattack: the standard version of its authors' code",
    "corruptions": "mean over kinds of the mean over severities; mCE only against a named baseline",
}

Result = TypeVar("Result")
Advance = Callable[[int], None]
Progress = Callable[..., AbstractContextManager[Advance]]


def check_alone(what: str) -> None:
    """Refuse to measure in one of several processes, each of which would see its share of the images."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"{what} runs in one process: start it without torchrun")


class Measurements:
    """One network on its device, and what several parts share."""

    def __init__(self, run: Run, plan: Plan, engine: Engine, *, progress: Progress) -> None:
        self.config, self.plan, self.engine = run.config, plan, engine
        self._progress = progress
        self.dataset = run.load_data(test_only=True)
        network = run.network(self.dataset)
        if run.label_map is not None and run.choice.outputs == "folders":
            outputs = named_outputs(self.dataset)
            self.dataset, network = in_outputs(self.dataset, outputs), ChosenOutputs(network, outputs)
        self.model: nn.Module = engine.place(network).eval()
        self.batch_size = plan.batch_size or self._first_size()
        self.constants: dict[str, Any] = {"mean": self.dataset.mean, "std": self.dataset.std}

    def check(self) -> None:
        """Refuse what would be found impossible only after the parts before it."""
        parts, split = self.plan.parts, self.dataset.test
        decoded = [part for part in ("representation", "corruptions") if part in parts]
        if decoded and not isinstance(split, Split) and not self.plan.limit:
            raise ValueError(
                f"{' and '.join(decoded)} of images in files: give --limit N, since they are decoded into memory"
            )
        if "corruptions" in parts and self.dataset.image_size < SMALLEST:
            raise ValueError(
                f"corruptions are for images of {SMALLEST} pixels or more, these have {self.dataset.image_size}: leave "
                "them out of --what"
            )
        if self.plan.corruption_folder and not self.plan.corruption_folder.is_dir():
            raise FileNotFoundError(f"--corruption-folder {self.plan.corruption_folder} is no folder")
        if "representation" in parts:
            check_labels(split.labels[self.chosen])
        if "ood" in parts:
            self.ood_sets  # noqa: B018 - what is missing shows

    @cached_property
    def outputs(self) -> Outputs:
        """Logits of all test images, once."""
        split = self.dataset.test

        def work(size: int, progress: Advance) -> Outputs:
            loader = self._loader(split, size)
            return collect_outputs(self.model, loader, autocast=self.engine.autocast, progress=progress)

        outputs, self.batch_size = self._fitting("test images", len(split), work, self.batch_size)
        return outputs

    @cached_property
    def readable(self) -> Tensor:
        """Of each test image, whether its logits are finite; the others are named, and count as wrong.

        Raises:
            ValueError: no image has finite logits.
        """
        finite = self.outputs.logits.isfinite().all(dim=1)
        broken = (~finite).nonzero().flatten().tolist()
        if len(broken) == len(finite):
            raise ValueError(f"{len(broken)} of {len(finite)} images have logits that are not finite: it has diverged")
        if broken:
            text = "logits that are not finite for %d of %d images (%s): wrong in every error, and left out elsewhere"
            _log.warning(text, len(broken), len(finite), few([self._name(number) for number in broken]))
        return finite

    def _name(self, number: int) -> str:
        paths = self.dataset.test.paths
        return f"number {number}" if paths is None else paths[number]

    @cached_property
    def chosen(self) -> Tensor:
        """Places of the test images that the slow parts take: each class in proportion, the same for every network."""
        labels = self.dataset.test.labels
        if not 0 < self.plan.limit < len(labels):
            return torch.arange(len(labels))
        return hold_out(labels, self.plan.limit, seed=self.plan.seed)[1]

    @cached_property
    def ood_sets(self) -> list[OodSet]:
        """The out-of-distribution sets, as many images of each as test images are taken."""
        return [
            build_ood_set(
                name,
                like=self.dataset,
                root=self.config.data.root,
                count=len(self.chosen),
                seed=self.plan.seed,
                batch_size=self.batch_size,
                device=self.engine.device,
            )
            for name in ood_names(self.plan.ood, self.config.data.name)
        ]

    @cached_property
    def ood_logits(self) -> dict[str, Tensor]:
        """Finite logits of each out-of-distribution set; where some are not, a warning says how many.

        Raises:
            ValueError: none of a set are finite.
        """
        logits = {}
        for images in self.ood_sets:
            with self._progress(f"{images.name} images", images=images.num_images) as progress:
                outputs = collect_outputs(self.model, images, autocast=self.engine.autocast, progress=progress)
            finite = outputs.logits.isfinite().all(dim=1)
            if not finite.any():
                raise ValueError(f"none of the {len(finite)} images of {images.name} has finite logits: leave it out")
            if not finite.all():
                text = "%s: logits that are not finite for %d of %d images, which are left out"
                _log.warning(text, images.name, int((~finite).sum()), len(finite))
            logits[images.name] = outputs.logits[finite]
        return logits

    @property
    def chosen_logits(self) -> Tensor:
        """Logits of the test images that the slow parts take."""
        return self.outputs.logits[self.chosen]

    @property
    def readable_logits(self) -> Tensor:
        """Those of them that are finite."""
        return self.chosen_logits[self.readable[self.chosen]]

    def error(self) -> dict[str, Any]:
        """Top-1 with its interval, top-5, images, classes; the cross-entropy of those whose logits are finite."""
        logits, labels, readable = self.outputs.logits, self.outputs.labels, self.readable
        result = asdict(evaluate_error(nn.Identity(), [(logits, labels)])) | {"classes": logits.shape[1]}
        if not readable.all():
            finite = evaluate_error(nn.Identity(), [(logits[readable], labels[readable])])
            result |= {"cross_entropy": finite.cross_entropy, "not_finite": int((~readable).sum())}
        return result | self._interval(result)

    def _interval(self, result: Mapping[str, Any]) -> dict[str, Any]:
        return {"error_interval_percent": error_interval(result["error_percent"], result["images"])}

    def calibration(self) -> dict[str, Any]:
        """Calibration errors of all test images."""
        logits, labels = self.outputs.logits[self.readable], self.outputs.labels[self.readable]
        return {"images": len(labels), **evaluate_calibration(logits, labels, bins=self.plan.bins)}

    def representation(self) -> dict[str, Any]:
        """Spectra of the classes, confidence of the errors, and decisions between and around the images."""
        chosen = self.chosen[self.readable[self.chosen]]
        split = self._in_memory(self.dataset.test.select(chosen))

        def work(size: int, progress: Advance) -> dict[str, Any]:
            common: dict[str, Any] = {"autocast": self.engine.autocast, "progress": progress, "seed": self.plan.seed}
            return evaluate_representation(self.model, split, **self.constants, batch_size=size, **common)

        return self._fitting("representation", looks() * len(split), work, self.batch_size)[0]

    def attacks(self) -> dict[str, Any]:
        """Error under each attack, and whether the strongest of them can be believed."""
        split, plan = self.dataset.test.select(self.chosen), self.plan
        clean = evaluate_error(nn.Identity(), [(self.chosen_logits, self.outputs.labels[self.chosen])])
        rows = []
        for attack in plan.attacks:
            label = describe(attack)
            measure = auto_attack_error if isinstance(attack, AutoAttack) else robust_error
            measured = self._under(attack, measure, split, title=label, images=len(split))
            rows.append({"label": label, **asdict(attack), **measured, **self._interval(measured)})
        result: dict[str, Any] = {"images": len(split), "clean_error_percent": clean.error_percent, "attacks": rows}
        if plan.check_images:
            result["checks"] = self._checked(split)
        return result

    def ood(self) -> dict[str, Any]:
        """Out-of-distribution detection against each set."""
        notes = {images.name: list(images.notes) for images in self.ood_sets}
        return {**evaluate_ood(self.readable_logits, self.ood_logits), "notes": notes}

    def corruptions(self) -> dict[str, Any]:
        """Error under each corruption."""
        plan, split = self.plan, self._in_memory(self.dataset.test.select(self.chosen))
        rounds = len(plan.kinds) * len(plan.severities) + 1
        folders = class_folders(self.dataset, root=self.config.data.root) if plan.corruption_folder else None

        def work(size: int, progress: Advance) -> dict[str, Any]:
            return evaluate_corruptions(
                self.model,
                split,
                self.dataset.mean,
                self.dataset.std,
                kinds=plan.kinds,
                severities=plan.severities,
                seed=plan.seed,
                folder=plan.corruption_folder,
                class_folders=folders,
                class_labels=[label for _, label in self.dataset.sources] or None,
                batch_size=size,
                autocast=self.engine.autocast,
                progress=progress,
            )

        return self._fitting("corruptions", rounds * len(split), work, self.batch_size)[0]

    def _checked(self, split: Split | FileSplit) -> dict[str, Any]:
        gradient = [attack for attack in self.plan.attacks if isinstance(attack, Attack)]
        several = [attack for attack in gradient if attack.iterations > 1 and attack.epsilon > 0]
        attack = several[0] if several else Attack()
        images = min(self.plan.check_images, len(split))
        if images < len(split):
            split = split.select(hold_out(split.labels, images, seed=self.plan.seed)[1])
        title, passed = f"checks of {attack.name}", passes(attack) * images
        return {"attack": describe(attack), **self._under(attack, check_attack, split, title=title, images=passed)}

    def _under(
        self, attack: AnyAttack, measure: Callable[..., Result], split: Split | FileSplit, *, title: str, images: int
    ) -> Result:
        def work(size: int, progress: Advance) -> Result:
            loader, seed = self._loader(split, size), self.plan.seed
            return measure(self.model, loader, attack, **self.constants, seed=seed, progress=progress)

        # an attack keeps activations for its gradient
        start = min(self.batch_size, first_batch_size(self.engine.device, image_size=self.dataset.image_size))
        return self._fitting(title, images, work, start)[0]

    def _loader(self, split: Split | FileSplit, size: int) -> Loader:
        device, channels_last = self.engine.device, self.config.train.channels_last
        common: dict[str, Any] = {"batch_size": size, "device": device, "channels_last": channels_last}
        if isinstance(split, Split):
            return BatchLoader(split, **self.constants, **common)
        return self._stream(split, **self.constants, **common)

    def _stream(self, split: FileSplit, **options: Any) -> StreamLoader:
        seen: dict[str, Any] = {"image_size": self.dataset.image_size, "view": self.dataset.test_view}
        seen |= {"crop": self.dataset.test_crop, "workers": self.config.data.workers}
        return StreamLoader(split, **seen, **options)

    def _in_memory(self, split: Split | FileSplit) -> Split:
        """Decode images that lie in files; a chosen few, since thousands of them fill gigabytes."""
        if isinstance(split, Split):
            return split
        none: dict[str, Any] = {"mean": (0.0,) * self.dataset.channels, "std": (1 / 255,) * self.dataset.channels}
        images = torch.cat([x.round().to(torch.uint8) for x, _ in self._stream(split, batch_size=64, **none)])
        return Split(images, split.labels)

    def _first_size(self) -> int:
        if self.engine.device.type == "cuda":
            return first_batch_size(self.engine.device, image_size=self.dataset.image_size)
        return self.config.evaluation.batch_size

    def _fitting(
        self, title: str, images: int, work: Callable[[int, Advance], Result], start: int
    ) -> tuple[Result, int]:
        def sized(size: int) -> Result:
            with self._progress(title, images=images) as progress:
                return work(size, progress)

        return with_fitting_batch_size(sized, start=start)
