"""Train the decoder of a style autoencoder; find the styles of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup import data
from alignmixup.functional.style import adain, class_style_sums, style_statistics, style_vector
from alignmixup.models.style_autoencoder import StyleAutoencoder
from alignmixup.normalization import Normalization
from alignmixup.training import checkpoint
from alignmixup.training.config import Config, OptimizerConfig, ScheduleConfig, to_dict
from alignmixup.training.config_file import from_dict
from alignmixup.training.engine import Engine
from alignmixup.training.meaning import first_difference
from alignmixup.training.optimization.optimizers import build_optimizer, set_learning_rate
from alignmixup.training.optimization.schedule import learning_rate
from alignmixup.training.progress.display import Reporter
from alignmixup.training.progress.epoch_log import EpochLog
from alignmixup.training.style.config import StyleConfig

if TYPE_CHECKING:
    from alignmixup.data import ImageData, Loader

_CALIBRATION_BATCHES = 16
_SCHEDULE = ScheduleConfig(name="cosine", update="step")


def style_losses(autoencoder: StyleAutoencoder, images: Tensor, perm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How well images come back from their features, and how well they take their partners' styles.

    Args:
        autoencoder: its encoder is frozen.
        images: (B, C, H, W) float32 in [0, 1].
        perm: (B,) int64 partner of each image.

    Returns:
        Mean squared error of the pixels; of the features of the restyled image against those that were decoded; and of
        means and deviations against the partner's, summed over the encoder's maps.

    Source:
        Huang and Belongie, AdaIN, ICCV 2017, Eqs. (11) to (13). Deviations: the reconstruction term, and features
        that are divided by their root mean square.
    """
    size = (images.shape[2], images.shape[3])
    with torch.no_grad():
        taps = autoencoder.taps(images)
        wanted = adain(taps[-1], taps[-1][perm])
    decoded, restyled = autoencoder.draw(torch.cat([taps[-1], wanted]), size).chunk(2)
    found = autoencoder.taps(restyled)
    pairs = [
        (own, other[perm])
        for new, old in zip(found, taps, strict=True)
        for own, other in zip(style_statistics(new), style_statistics(old), strict=True)
    ]
    style = torch.stack([F.mse_loss(own, other) for own, other in pairs]).sum()
    return F.mse_loss(decoded, images), F.mse_loss(found[-1].float(), wanted.float()), style


class StyleTrainer:
    """Trains the decoder; can stop and continue between epochs with the same result, bit for bit on a CPU.

    The state goes into ``unfinished`` after each epoch, and is continued from if it is there.
    """

    def __init__(
        self,
        autoencoder: StyleAutoencoder,
        style: StyleConfig,
        *,
        dataset: ImageData,
        config: Config,
        engine: Engine,
        unfinished: Path,
        reporter: Reporter | None = None,
    ) -> None:
        self.autoencoder, self.style, self.config, self.engine = autoencoder, style, config, engine
        self.unfinished, self.reporter = unfinished, reporter or Reporter()
        self.num_classes = dataset.num_classes
        self.train_loader, self.test_loader = data.build_loaders(
            dataset,
            batch_size=style.batch_size,
            augment=config.data.augment,
            seed=config.train.seed,
            device=engine.device,
            workers=config.data.workers,
        )
        self._normalization = Normalization.of(dataset.mean, dataset.std, device=engine.device)
        self.optimizer = build_optimizer(
            autoencoder.decoder, OptimizerConfig(name="adamw", lr=style.lr, weight_decay=0.0)
        )
        self.epoch = 0
        remedy = f"a smaller --lr (now {style.lr})"
        self.log = EpochLog(len(self.train_loader), device=engine.device, reporter=self.reporter, remedy=remedy)

    def fit(self) -> None:
        """Train to the last epoch."""
        if self.unfinished.is_file():
            self._load()
        else:
            self._calibrate()
        epochs, batches = self.style.epochs, len(self.train_loader)
        self.reporter.start("decoder", epochs=epochs, batches=batches, first_epoch=self.epoch)
        try:
            while self.epoch < epochs:
                row = self._train_epoch()
                self.epoch += 1
                self._save()
                self.reporter.epoch(row)
        finally:
            self.reporter.close()

    @torch.no_grad()
    def finish(self) -> dict[str, float]:
        """Find the styles of the classes in the training images; measure the losses on the test images."""
        found: list[tuple[Tensor, Tensor]] = []
        self.train_loader.set_epoch(self.style.epochs)
        for images, y in self._pixels(self.train_loader):
            with self.engine.autocast():
                vectors = style_vector(self.autoencoder.taps(images))
            sums = class_style_sums(vectors, y, self.num_classes)
            found = [(found[0][0] + sums[0], found[0][1] + sums[1])] if found else [sums]
        ((total, counts),) = found
        self.autoencoder.class_style = (total / counts[:, None].clamp_min(1)).float()
        return self.measure()

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean over the test images of peak signal-to-noise ratio and losses, each image's partner being the next."""
        totals = torch.zeros(4, dtype=torch.float64, device=self.engine.device)
        images_seen = 0
        for images, _ in self._pixels(self.test_loader):
            perm = torch.arange(len(images), device=images.device).roll(-1)
            with self.engine.autocast():
                reconstruction, content, style = style_losses(self.autoencoder, images, perm)
                decoded = self.autoencoder.decode(self.autoencoder.encode(images), (images.shape[2], images.shape[3]))
            errors = (decoded - images).square().flatten(1).mean(1).clamp_min(1e-10)
            values = torch.stack([-10 * errors.log10().mean(), reconstruction, content, style])
            totals += len(images) * values.double()
            images_seen += len(images)
        names = ("psnr_db", "reconstruction_loss", "content_loss", "style_loss")
        return dict(zip(names, (totals / images_seen).tolist(), strict=True))

    def _train_epoch(self) -> dict[str, Any]:
        self.train_loader.set_epoch(self.epoch)
        batches = len(self.train_loader)
        generator = torch.Generator().manual_seed(self.config.train.seed * 1_000_003 + self.epoch)
        self.log.clear()
        self.log.begin(self.epoch)
        for images, _ in self._pixels(self.train_loader):
            rate = learning_rate(
                _SCHEDULE,
                self.style.lr,
                update=self.epoch * batches + self.log.step,
                updates_per_epoch=batches,
                epochs=self.style.epochs,
            )
            set_learning_rate(self.optimizer, rate)
            self.log.add(self._step(images, torch.randperm(len(images), generator=generator)), len(images))
        self.log.end()
        return {
            "epoch": self.epoch,
            "train_loss": float(self.log.losses.mean()),
            "images_per_second": self.train_loader.num_images / self.log.seconds,
        }

    def _step(self, images: Tensor, perm: Tensor) -> Tensor:
        style = self.style
        with self.engine.autocast():
            terms = style_losses(self.autoencoder, images, perm.to(images.device))
        weights = (style.reconstruction_weight, style.content_weight, style.style_weight)
        loss = torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum()
        self.engine.backward(loss)
        self.engine.update(self.optimizer)
        return loss.detach()

    def _pixels(self, loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches in [0, 1]."""
        for x, y in loader:
            yield self._normalization.undo(x), y

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Divide each of the encoder's maps by its root mean square over the first batches."""
        squares: list[Tensor] = []
        for number, (images, _) in enumerate(self._pixels(self.train_loader)):
            squares.append(torch.stack([tap.float().square().mean() for tap in self.autoencoder.taps(images)]))
            if number + 1 == _CALIBRATION_BATCHES:
                break
        scale = self.autoencoder.encoder.get_buffer("scale")
        scale.copy_(torch.stack(squares).mean(0).sqrt().clamp_min(1e-6))

    def _save(self) -> None:
        state = {
            "config": to_dict(self.config),
            "style": asdict(self.style),
            "epoch": self.epoch,
            "autoencoder": self.autoencoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.engine.scaler.state_dict(),
        }
        checkpoint.save(self.unfinished, state)

    def _load(self) -> None:
        state = checkpoint.load(self.unfinished)
        stored = from_dict(state["config"], source=str(self.unfinished))
        now = asdict(self.style)
        changed = [f"--{key.replace('_', '-')}" for key, value in now.items() if state["style"].get(key) != value]
        difference = first_difference(stored, self.config) or ", ".join(changed)
        if difference:
            raise ValueError(
                f"{self.unfinished} is an unfinished training with other settings: {difference}. Continue with the "
                "same ones, take another --out, or start anew with --overwrite"
            )
        self.autoencoder.load_state_dict(state["autoencoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.engine.scaler.load_state_dict(state["scaler"])
        self.epoch = state["epoch"]
