"""A Hugging Face Trainer that mixes its training batches."""

from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alignmixup.outside import missing

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint
except ImportError as error:
    raise ImportError(missing("transformers", "transformers")) from error

from alignmixup.files import write_atomically
from alignmixup.methods.base import Annotation, MixedBatch, Mixer
from alignmixup.methods.base.batch import Criterion
from alignmixup.taps import find_logits


class MixingTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that mixes; evaluation and prediction are untouched.

    The images are what the model names in ``main_input_name``, or ``pixel_values``. Rows may have ``masks`` and
    ``boxes``: the mixer gets them, and the model does not, unless its ``forward`` names them. The backward pass runs
    inside the mixing, so that gradient checkpointing is exact. Under gradient accumulation each example weighs what it
    weighs in the loss that the model itself computes. Checkpoints keep the mixer's random stream.

    Args:
        *args: of the Trainer.
        mixer: the method, built on the Trainer's model.
        criterion: takes logits and soft labels (B, K) and returns a mean.
        **kwargs: of the Trainer.

    Attributes:
        batch: the mixed batch of a training step, for a ``compute_loss`` of one's own; None outside.

    Raises:
        ValueError: options that would bypass the criterion or replace the model, DataParallel, or, in several
            processes, a method with parameters of its own.
    """

    def __init__(self, *args: Any, mixer: Mixer, criterion: Criterion = F.cross_entropy, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = {"model_init": self.model_init, "compute_loss_func": self.compute_loss_func}
        options["label_smoothing_factor"] = self.label_smoother
        if unused := [name for name, value in options.items() if value is not None]:
            raise ValueError(f"{', '.join(unused)} would not mix: use model, criterion, and the mixer's options")
        if self.args.n_gpu > 1:
            raise ValueError(
                f"DataParallel over {self.args.n_gpu} GPUs cannot mix: start one process a GPU, by torchrun"
            )
        further = list(mixer.parameters())
        if further and self.args.world_size > 1:
            raise ValueError(
                f"the Trainer averages gradients of its model alone, and {type(mixer).__name__} has parameters of its "
                f"own: train in one process, not {self.args.world_size}, or with Lightning, Accelerate or torchrun"
            )
        if further and self.optimizer is not None and not set(further) <= _trained(self.optimizer):
            raise ValueError(f"the optimizer needs the parameters of {type(mixer).__name__}: add mixer.parameters()")
        self.mixer, self.criterion = mixer, criterion
        self.batch: MixedBatch | None = None
        self._set_signature_columns_if_needed()
        self.add_callback(_Progress(mixer))

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train, or go on from a checkpoint with the mixer as it was then."""
        folder = resume_from_checkpoint
        folder = get_last_checkpoint(self.args.output_dir) if folder is True else folder
        if folder:
            self.mixer.load_state_dict(torch.load(Path(folder) / "mixer.pt", weights_only=True))
        return super().train(resume_from_checkpoint, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Make the Trainer's optimiser, which also trains the method's own parameters."""
        optimizer = super().create_optimizer(*args, **kwargs)
        trained = _trained(optimizer)
        if further := [p for p in self.mixer.parameters() if p not in trained]:
            optimizer.add_param_group({"params": further})
        return optimizer

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Run the forward and the backward pass of the mixed batch."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        name = getattr(self.model, "main_input_name", "pixel_values")
        if missing := {name, "labels"} - set(inputs):
            raise ValueError(f"mixing needs {name!r} and 'labels' of a batch: no {sorted(missing)} in {sorted(inputs)}")
        given = {key: inputs[key] for key in self._annotations if key in inputs}
        try:
            with self.mixer(inputs[name], inputs["labels"], **given) as self.batch:
                step: Tensor = super().training_step(
                    model, {**self._known(inputs), name: self.batch.x}, *args, **kwargs
                )
                return step
        finally:
            self.batch = None

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Predict as the Trainer does, which knows no masks and boxes."""
        return super().prediction_step(model, self._known(inputs), *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        # the Trainer drops what the model's forward does not name
        super()._set_signature_columns_if_needed()
        if not hasattr(self, "_annotations"):
            self._annotations = [key for key in get_args(Annotation) if key not in self._signature_columns]
            self._signature_columns += self._annotations

    def _known(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What of a batch the model takes."""
        return {key: value for key, value in inputs.items() if key not in self._annotations}

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Compute the loss of the mixed batch; outside a training step, the Trainer's own."""
        if self.batch is None:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        labels, outputs = inputs["labels"], model(**{k: v for k, v in inputs.items() if k != "labels"})
        logits = find_logits(outputs, self.batch.target.shape[1:].numel())
        if logits is None:
            raise TypeError(f"no logits in what {type(model).__name__} returns, {type(outputs).__name__}")
        loss = self.batch.loss(logits, self.criterion)
        items = kwargs.get("num_items_in_batch")
        if items is not None:  # the Trainer then expects a sum, divided by the labels of the whole accumulated batch
            processes = self.args.world_size if self.args.average_tokens_across_devices else 1
            loss = loss * labels.numel() / items * processes
        return (loss, outputs) if return_outputs else loss


def _trained(optimizer: Any) -> set[Tensor]:
    return {p for group in optimizer.param_groups for p in group["params"]}


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Tells the mixer the epoch, and saves it beside the model."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.mixer.set_epoch(int(state.epoch or 0))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.should_save:
            folder = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            file = Path(args.output_dir) / folder / "mixer.pt"
            write_atomically(file, lambda opened: torch.save(self.mixer.state_dict(), opened))
