"""What every training loop does with the losses of an epoch: keep them, show them, stop where one is not finite."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from alignmixup.training.progress.display import Reporter
from alignmixup.training.progress.readback import Readback

_SHOW_EVERY_SECONDS = 0.2
_SHOWN_LOSSES = 50


class EpochLog:
    """Losses and time of an epoch, as far as it is.

    Args:
        steps: of one epoch.
        device: where the losses are and stay; reading one would wait for it in every step.
        reporter: hears of the mean of the last losses a few times a second.
        remedy: what to try when a loss is not finite.

    Attributes:
        epoch: which one, from 0.
        step: steps done.
        losses: (steps,) float32, of the steps done; zero for the others.
        seconds: that the steps took, before an interruption too; current after `end`.
        saved: what an error says of the last checkpoint, whose weights may be bad already; nothing where it is empty.
    """

    def __init__(self, steps: int, *, device: torch.device, reporter: Reporter, remedy: str) -> None:
        self.losses = torch.zeros(steps, device=device)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self._reporter, self._remedy = reporter, remedy
        self.saved = ""
        self._readback = Readback(device)

    def begin(self, epoch: int) -> None:
        """Start the clock, at the first step of an epoch or where it was interrupted."""
        self.epoch, self._images = epoch, 0
        self._begin = self._shown = time.perf_counter()

    def add(self, loss: Tensor, images: int) -> None:
        """Note a step."""
        self.losses[self.step] = loss.detach()
        self.step += 1
        self._images += images
        now = time.perf_counter()
        if now - self._shown >= _SHOW_EVERY_SECONDS:
            self._shown = now
            self._show(self._images / (now - self._begin))

    def end(self) -> None:
        """Stop the clock, at the last step or at an interruption."""
        self._check_finite()
        self.seconds += time.perf_counter() - self._begin

    def clear(self) -> None:
        """Forget the epoch."""
        self.step, self.seconds = 0, 0.0

    def resume(self, losses: Tensor, *, seconds: float) -> None:
        """Continue behind steps whose losses (step,) and time are known."""
        self.step, self.seconds = len(losses), seconds
        self.losses[: self.step] = losses.to(self.losses.device)

    def not_finite(self, what: str, step: int) -> FloatingPointError:
        """The error to raise."""
        place = f"epoch {self.epoch} step {step} (from 0)"
        saved = f"; {self.saved}" if self.saved else ""
        return FloatingPointError(f"{what} is not finite at {place}{saved}. Try {self._remedy}")

    def _show(self, images_per_second: float) -> None:
        recent = self._readback.exchange(self.losses[max(0, self.step - _SHOWN_LOSSES) : self.step].mean())
        if recent is None:
            return
        if not math.isfinite(recent):
            self._check_finite()
        self._reporter.step(epoch=self.epoch, step=self.step, loss=recent, images_per_second=images_per_second)

    def _check_finite(self) -> None:
        finite = self.losses[: self.step].isfinite().tolist()
        if not all(finite):
            raise self.not_finite("loss", finite.index(False))
