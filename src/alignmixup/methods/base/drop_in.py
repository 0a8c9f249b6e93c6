"""DropIn: a mixer for training loops that cannot be edited, called as timm's ``mixup_fn(x, y)``."""

from typing import TYPE_CHECKING

from torch import Tensor

from alignmixup.methods.base.batch import MixedBatch

if TYPE_CHECKING:
    from alignmixup.methods.base.mixer import Mixer


class DropIn:
    """``(x, y) -> (x, target)``; hidden mixing of a batch stays live until the next call, :meth:`close` or eval mode.

    One hole remains, and only the scoped form closes it: any other training-mode forward of the model before the
    next call is mixed too.

    Args:
        mixer: the method; one with an auxiliary loss is refused, since nobody would add that loss.

    Attributes:
        mixup_enabled: set to False to switch mixing off (timm's loop does so at ``--mixup-off-epoch``).

    Raises:
        TypeError: the method has an auxiliary loss.
    """

    def __init__(self, mixer: "Mixer") -> None:
        if mixer.has_auxiliary:
            raise _refusal(mixer)
        self.mixer = mixer
        self.mixup_enabled = True
        self._live: MixedBatch | None = None

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch and keep it live.

        Raises:
            RuntimeError: the previous batch never reached the layer at which it was to be mixed.
            TypeError: the method has an auxiliary loss.
        """
        self.close()
        batch = self.mixer(x, y) if self.mixup_enabled else self.mixer.clean(x, y)
        if batch.auxiliary is not None:
            raise _refusal(self.mixer)
        if batch.clean_weight not in (None, 0.5):
            raise TypeError("RegMixup weighs two losses, which a drop-in cannot do: use eta=1")
        if batch.late is not None and batch.late.early is None:
            raise labels_come_later(type(self.mixer).__name__)
        if batch.tap is not None and batch.scoped:
            self._live = batch.__enter__()
        return batch.x, batch.target

    def close(self) -> None:
        """End the live batch; raises if it never reached its layer."""
        live, self._live = self._live, None
        if live is None:
            return
        try:
            live.__exit__(None, None, None)
        except RuntimeError as error:
            raise RuntimeError(
                f"{error}; a drop-in belongs in the training loop, one call before each forward: a loader that "
                "prefetches calls a collate_fn for later batches before the model has seen this one"
            ) from None


def labels_come_later(name: str) -> TypeError:
    """The error of a method whose labels are not known when a drop-in would give them."""
    return TypeError(
        f"{name} finds labels in the forward pass, which a drop-in cannot give before it: use the scoped form `with "
        "mixer(x, y) as batch: loss = batch.loss(model(batch.x), criterion)`"
    )


def _refusal(mixer: "Mixer") -> TypeError:
    return TypeError(
        f"{type(mixer).__name__} has an auxiliary loss, which a drop-in cannot add: use the scoped form "
        "`with mixer(x, y) as batch: loss = batch.loss(model(batch.x), criterion)`"
    )
