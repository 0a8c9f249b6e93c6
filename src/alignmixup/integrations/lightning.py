"""A Lightning callback that keeps a batch's mixing live until Lightning has run its backward pass."""

from contextlib import ExitStack
from typing import Any

from alignmixup.outside import missing

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(missing("lightning", "lightning")) from error
from torch import Tensor

from alignmixup.methods.base import MixedBatch, Mixer


class Mixing(Callback):  # type: ignore[misc]
    """Mixes inside ``training_step``, with automatic optimisation as with manual.

    Lightning runs the backward pass after ``training_step`` has returned, and activation checkpointing runs the forward
    again in there. So a batch stays live from the call until after the backward pass, which this callback sees::

        class Classifier(LightningModule):
            def __init__(self):
                super().__init__()
                self.model = resnet18(num_classes=10)
                self.mixing = Mixing(AlignMixup(self.model, num_classes=10))

            def configure_callbacks(self):
                return self.mixing

            def training_step(self, batch, index):
                mixed = self.mixing(*batch)
                return mixed.loss(self.model(mixed.x))

    Epochs reach ``active_epochs``, and the mixer's random stream is part of Lightning's checkpoints.

    Args:
        mixer: the method, built on the module inside the LightningModule.
    """

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer
        self._in_batch = False
        self._live = ExitStack()

    def __call__(self, x: Tensor, y: Tensor, **annotations: Any) -> MixedBatch:
        """Mix a batch, which stays live until after the next backward pass.

        Args:
            x: (B, ...) images, see :meth:`alignmixup.Mixer.__call__` for all of these and for errors.
            y: (B,) class indices, or (B, K) soft labels.
            **annotations: ``masks`` and ``boxes``.

        Raises:
            RuntimeError: outside a training batch of the trainer, where nothing would end the mixing.
        """
        if not self._in_batch:
            raise RuntimeError(
                "Mixing was called outside a training batch: call it in training_step only, and let the trainer know, "
                "by `def configure_callbacks(self): return self.mixing` or Trainer(callbacks=[mixing])"
            )
        self._live.close()
        return self._live.enter_context(self.mixer(x, y, **annotations))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a method whose own parameters are no part of the LightningModule, or are not made yet."""
        if stage == "fit" and not set(self.mixer.parameters()) <= set(pl_module.parameters()):
            raise ValueError(
                f"{type(self.mixer).__name__} has parameters that {type(pl_module).__name__} does not know: write "
                "`self.further = mixer.module` in its __init__, after mixer.prepare(size=...), so that Lightning "
                "moves, saves and reduces them"
            )
        self.mixer.averaged_by_loop = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse optimisers that leave out parameters of the method."""
        trained = {p for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
        if (
            trained & set(pl_module.parameters()) and not set(self.mixer.parameters()) <= trained
        ):  # else they are shards
            raise ValueError(
                f"no optimizer has the parameters of {type(self.mixer).__name__}: give it self.parameters(), or "
                "[*self.model.parameters(), *mixer.parameters()]"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the mixer the epoch."""
        self.mixer.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Allow batches to be mixed."""
        self._in_batch = True

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the mixing; raises if the batch never reached its layer."""
        self._live.close()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the mixing of a step that was skipped."""
        self._in_batch = False
        self._live.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the mixing of a step that failed."""
        self._in_batch = False
        self._live.__exit__(type(exception), exception, exception.__traceback__)

    def state_dict(self) -> dict[str, Any]:
        """Return the mixer's state, for Lightning's checkpoint."""
        return self.mixer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the mixer where the checkpoint was taken."""
        self.mixer.load_state_dict(state_dict)
