"""The training loop, in the order in which it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from alignmixup.evaluation.error import evaluate_error
from alignmixup.training import checkpoint
from alignmixup.training.config import Config, to_dict
from alignmixup.training.engine import Engine
from alignmixup.training.optimization.losses import CRITERIA
from alignmixup.training.optimization.optimizers import (
    average_weights,
    build_optimizer,
    freeze_backbone,
    set_learning_rate,
)
from alignmixup.training.optimization.schedule import learning_rate
from alignmixup.training.processes.division import Division
from alignmixup.training.progress.display import Reporter
from alignmixup.training.progress.epoch_log import EpochLog
from alignmixup.training.progress.trackers import Tracker

if TYPE_CHECKING:
    from alignmixup.data import Loader
    from alignmixup.methods.base import Mixer


class InterruptedRunError(Exception):
    """Training was asked to stop; the checkpoint holds everything up to the last step."""


class Trainer:
    """Trains a model with a mixer and evaluates it after each epoch.

    Args:
        config: the run; what it says of data, model and method is done already.
        engine: device, precision, processes.
        model: the network, on the engine's device, with the mixer's hooks in place.
        mixer: the mixing method; prepared, where it has parameters of its own.
        train_loader, test_loader: batches (x, y) on the device.
        division: what a batch of the training loader is of an update; None as ``config`` says.
        class_names: of the labels, in their order.
        class_counts: training images of each class.
        image_digests: see `ImageData.image_digests`; wanted on the first process, which saves them.
        example: images (B, C, H, W) on the device, on which the model is run to find its head and its layers' order.
        checkpoint_path: where the state goes after each epoch; None saves nothing.
        reporter: shows progress.

    Attributes:
        curve: one entry per finished epoch.
        best: epoch and weights of the lowest error so far, the first of equals; on the first process alone, and None
            where a checkpoint does not hold those of the curve's lowest.
        trackers: receive the numbers of each epoch.
        stop_requested: set it (from a signal handler) in any process, and all stop together with everything saved, one
            or two updates later.
    """

    def __init__(
        self,
        *,
        config: Config,
        engine: Engine,
        model: nn.Module,
        mixer: Mixer,
        train_loader: Loader,
        test_loader: Loader,
        division: Division | None = None,
        class_names: Sequence[str] = (),
        class_counts: Sequence[int] = (),
        image_digests: Mapping[str, Sequence[str]] | None = None,
        example: torch.Tensor | None = None,
        checkpoint_path: Path | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.config, self.engine, self.model, self.mixer = config, engine, model, mixer
        self.train_loader, self.test_loader, self.checkpoint_path = train_loader, test_loader, checkpoint_path
        self.class_names, self.class_counts = tuple(class_names), tuple(class_counts)
        self.image_digests = {split: list(digests) for split, digests in (image_digests or {}).items()}
        self.trackers: Sequence[Tracker] = ()
        self.reporter = reporter or Reporter()
        self.criterion = CRITERIA[config.train.loss]
        if config.optimizer.freeze:
            freeze_backbone(model, example)
        self.extra_parameters = list(mixer.parameters())
        engine.group.share(self.extra_parameters)
        mixer.averaged_by_loop = True
        with engine.autocast():
            self.optimizer = build_optimizer(
                model, config.optimizer, extra_parameters=self.extra_parameters, example=example
            )
        self.average = average_weights(model, config.train.ema_decay) if config.train.ema_decay else None
        self.wrapped = engine.wrap(model)
        self.batches = len(train_loader)
        self.division = division or Division.of(config.train, engine.group.world_size)
        self.updates_per_epoch = math.ceil(self.batches / self.division.accumulation)
        self._shared_test_batches = min(engine.group.gather(len(test_loader)))
        self.log = EpochLog(self.batches, device=engine.device, reporter=self.reporter, remedy=_remedy(config))
        self.log.saved = "there is no checkpoint yet" if checkpoint_path else ""
        self.epoch = 0
        self.curve: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.stop_requested = False
        self._saved_at = time.monotonic()

    @property
    def evaluated_model(self) -> nn.Module:
        """The weights that are evaluated and saved: the average where there is one."""
        return self.average.module if self.average is not None else self.model

    def fit(self) -> list[dict[str, Any]]:
        """Train to the last epoch and return the curve.

        Raises:
            InterruptedRunError: ``stop_requested`` was set, here or in another process; the state is saved.
            FloatingPointError: the loss is no longer finite; the last checkpoint is untouched.
        """
        epochs, every = self.config.train.epochs, self.config.train.checkpoint_every
        while self.epoch < epochs:
            self._train_epoch()
            row = self._summarise_epoch()
            self.curve.append(row)
            self.epoch += 1
            self.log.clear()
            stop, save = self._asked(at_once=True)
            if self.epoch % every == 0 or self.epoch == epochs or stop or save:
                self._save()
            self._tell(row)
            if stop and self.epoch < epochs:
                raise InterruptedRunError
        if "error_percent" not in self.curve[-1]:
            self._test_last()
        return self.curve

    def _test_last(self) -> None:
        """Test the last epoch of a run that was made shorter, which was not the last one when it was trained."""
        row = self.curve[-1]
        self.log.epoch = row["epoch"]
        row = row | self._evaluate()
        self._keep_best(row)
        self.curve[-1] = row
        self._save()
        self._tell(row)

    def _tell(self, row: dict[str, Any]) -> None:
        self.reporter.epoch(row)
        for tracker in self.trackers:
            tracker.log(row)

    def _train_epoch(self) -> None:
        """From the step where it was left to the end of the epoch; saves, and stops, where that is asked for."""
        self.model.train()
        if self.config.optimizer.freeze:
            freeze_backbone(self.model)
        self.mixer.set_epoch(self.epoch)
        self.train_loader.set_epoch(self.epoch, skip_batches=self.log.step)
        self.log.begin(self.epoch)
        for x, y in self.train_loader:
            if self._train_step(x, y) and any(asked := self._asked()):
                self.log.end()
                self._grant(*asked)
                self.log.begin(self.epoch)
        self.log.end()

    def _asked(self, *, at_once: bool = False) -> tuple[bool, ...]:
        """Whether all processes stop, and whether they save, at this point of the run."""
        minutes = self.config.train.checkpoint_minutes
        due = self.engine.group.is_main and minutes > 0 and time.monotonic() - self._saved_at >= 60 * minutes
        return self.engine.group.agree(self.stop_requested, due, at_once=at_once)

    def _grant(self, stop: bool, save: bool) -> None:
        if stop or save:
            self._save()
        if stop:
            self.engine.group.wait()  # a process that ended before the file is whole would have torchrun end its writer
            raise InterruptedRunError

    def _train_step(self, x: torch.Tensor, y: torch.Tensor) -> bool:
        """One batch; returns whether it ended with an update of the weights."""
        accumulation = self.division.accumulation
        first = self.log.step - self.log.step % accumulation
        window = min(accumulation, self.batches - first)
        updates = self.log.step + 1 == first + window
        with self.engine.autocast():  # a method may run the model to see where to mix
            mixed = self.mixer(x, y)
        with self.engine.gradients(reduced=updates), mixed as batch:
            with self.engine.autocast():
                loss = batch.loss(self.wrapped(batch.x), self.criterion)
            self.engine.backward(loss / window)
        if updates:
            set_learning_rate(self.optimizer, self._learning_rate(first // accumulation))
            self.engine.update(self.optimizer, extra_parameters=self.extra_parameters)
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.log.add(loss, len(y))
        return updates

    def _summarise_epoch(self) -> dict[str, Any]:
        """Evaluate when due; the epoch's entry of the curve."""
        loss = self.engine.group.sum_over_ranks(self.log.losses.mean()).item() / self.engine.group.world_size
        images = self.train_loader.num_images * self.engine.group.world_size
        row = {
            "epoch": self.epoch,
            "lr": self._learning_rate(self.updates_per_epoch - 1),
            "train_loss": loss,
            "images": images,
            "train_seconds": self.log.seconds,
            "images_per_second": images / self.log.seconds,
        }
        due = (self.epoch + 1) % self.config.evaluation.every == 0 or self.epoch + 1 == self.config.train.epochs
        if due:
            row |= self._evaluate()
            self._keep_best(row)
        return row

    def _evaluate(self) -> dict[str, float]:
        begin = time.perf_counter()
        self.engine.group.share_buffers([self.model, self.evaluated_model])
        result = evaluate_error(
            self.evaluated_model,
            self._test_batches(),
            autocast=self.engine.autocast,
            sum_over_ranks=self.engine.group.sum_over_ranks,
        )
        with self.engine.group.together():
            # A last update can break the weights after the last loss was finite: do not save them.
            if not math.isfinite(result.cross_entropy):
                raise self.log.not_finite("test loss", self.batches - 1)
        return {
            "error_percent": result.error_percent,
            "top5_error_percent": result.top5_error_percent,
            "cross_entropy": result.cross_entropy,
            "evaluation_seconds": time.perf_counter() - begin,
        }

    def _test_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The test batches; between them a run saves and stops as between updates. Processes may differ by a batch."""
        for number, batch in enumerate(self.test_loader, start=1):
            yield batch
            if number <= self._shared_test_batches:
                self._grant(*self._asked())

    def _keep_best(self, row: dict[str, Any]) -> None:
        if not self.engine.group.is_main:
            return
        earlier = [one["error_percent"] for one in self.curve if "error_percent" in one]
        if row["error_percent"] < min(earlier, default=math.inf):
            weights = {key: value.detach().cpu().clone() for key, value in self.evaluated_model.state_dict().items()}
            self.best = {"epoch": row["epoch"], "weights": weights}

    def _learning_rate(self, update: int) -> float:
        return learning_rate(
            self.config.schedule,
            self.config.optimizer.lr,
            update=self.epoch * self.updates_per_epoch + update,
            updates_per_epoch=self.updates_per_epoch,
            epochs=self.config.train.epochs,
        )

    def _save(self) -> None:
        losses = self.log.losses[: self.log.step].cpu()
        ranks = self.engine.group.gather(
            {"mixer": self.mixer.state_dict(), "random": self.engine.random_state(), "losses": losses}
        )
        self._saved_at = time.monotonic()
        if self.checkpoint_path is None or not self.engine.group.is_main:
            return
        state = {
            "config": to_dict(self.config),
            "class_names": list(self.class_names),
            "class_counts": list(self.class_counts),
            "image_digests": self.image_digests,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.engine.scaler.state_dict(),
            "ranks": ranks,
            "progress": {"epoch": self.epoch, "step": self.log.step, "seconds": self.log.seconds},
            "division": asdict(self.division),
            "curve": self.curve,
        }
        checkpoint.save(self.checkpoint_path, state)
        self._note_saved()
        self._saved_at = time.monotonic()

    def _note_saved(self) -> None:
        self.log.saved = f"the last checkpoint is of epoch {self.epoch} step {self.log.step}"

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint that `checkpoint.check_matches` accepted.

        Raises:
            ValueError: its weights do not fit this model, it is of other images, or past the last epoch.
        """
        done, epochs = state["progress"]["epoch"], self.config.train.epochs
        if done > epochs:
            raise ValueError(f"{done} epochs are trained already: train.epochs must be at least that, got {epochs}")
        if done == epochs and state["progress"]["step"]:
            raise ValueError(
                f"{done} epochs are trained already, and a part of another: train.epochs must be at least {done + 1}, "
                f"got {epochs}"
            )
        checkpoint.check_images(state, self.class_names, self.class_counts, self.image_digests)
        try:
            self.model.load_state_dict(state["model"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint holds another model: {' '.join(str(error).split())[:300]}") from None
        self.best = state.get("best")  # older ones have none
        self.optimizer.load_state_dict(state["optimizer"])
        self.engine.scaler.load_state_dict(state["scaler"])
        own = state["ranks"][self.engine.group.rank % len(state["ranks"])]
        self.mixer.load_state_dict(own["mixer"])
        self.engine.restore_random_state(own["random"])
        self.epoch = state["progress"]["epoch"]
        losses = [rank.get("losses", state.get("losses")) for rank in state["ranks"]]  # older ones: of rank 0 alone
        before = checkpoint.division_of(state)
        if before == self.division:
            own_losses = losses[self.engine.group.rank]
        else:
            own_losses = before.convert(losses, self.division, batches=self.batches)
        self.log.resume(own_losses, seconds=state["progress"]["seconds"])
        self.curve = list(state["curve"])
        self._note_saved()


def _remedy(config: Config) -> str:
    """What to try when a loss is not finite."""
    precision = config.train.precision
    wider = "" if precision == "fp32" else f', train.precision = "fp32" (now "{precision}")'
    lr = f"a smaller optimizer.lr (now {config.optimizer.lr})"
    return f"{lr}, schedule.warmup_epochs, train.clip_norm = 1.0{wider}"
