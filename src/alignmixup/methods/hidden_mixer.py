"""HiddenMixer: base of the methods that mix at the input or at one of several hidden layers, chosen per batch."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from alignmixup.functional.sampling import choice, coin
from alignmixup.methods.base import PairMixer
from alignmixup.taps import FeatureTap, Layout, Probe, layer_use, probe

logger = logging.getLogger("alignmixup")


@dataclass(eq=False, kw_only=True)
class HiddenMixer(PairMixer):
    """Base of the methods that mix hidden feature maps.

    Args:
        layer: the hidden layer to mix at: a dotted name, the module, several of them, or None to find them from
            the first batch (what is found is logged).
        layer_probabilities: share of each hidden layer among the batches that are not mixed at the input; None
            for equal shares.
        input_probability: share of batches mixed at the input, in [0, 1].
        layout: layout of the layers' outputs; None tells it from their shape.
    """

    layer: str | nn.Module | Sequence[str | nn.Module] | None = None
    layer_probabilities: Sequence[float] | None = None
    input_probability: float = 0.5
    layout: Layout | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._root is None:
            raise ValueError(
                f"{type(self).__name__} mixes inside the model: pass it as {type(self).__name__}(model, ...)"
            )
        self._tap = FeatureTap.of(self._root)
        self._used: dict[str, str] = {}
        wanted = [self.layer] if isinstance(self.layer, str | nn.Module) else list(self.layer or ())
        self._layers = tuple(self._tap.attach(layer, self.layout) for layer in wanted)
        if self._layers:
            self._shares = self._check_shares()

    def _check_options(self) -> None:
        super()._check_options()
        if not 0 <= self.input_probability <= 1:
            raise ValueError(f"input_probability must be in [0, 1], got {self.input_probability}")
        if self.layer is not None and not isinstance(self.layer, str | nn.Module) and not list(self.layer):
            raise ValueError("layer names no layer: give one or several, or None to find them automatically")
        if self.layout not in (None, "channels_first", "channels_last", "tokens"):
            raise ValueError(f"layout must be 'channels_first', 'channels_last' or 'tokens', got {self.layout!r}")

    def _check_shares(self) -> list[float]:
        shares = list(self.layer_probabilities or [1.0] * len(self._layers))
        if len(shares) != len(self._layers) or min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(
                f"layer_probabilities must be one non-negative number for each of {list(self._layers)}, got {shares}"
            )
        return shares

    @abstractmethod
    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Choose the hidden layers when the user named none."""

    def prepare(self, x: Tensor) -> None:
        """Find the layers from the first batch if none were named, and what the model reads from each of them."""
        assert self._root is not None
        if not self._layers:
            names = self.find_layers(probe(self._root, x))
            self._layers = tuple(self._tap.attach(name, self.layout) for name in names)
            self._shares = self._check_shares()
            logger.info("%s mixes at layer %s (found automatically)", type(self).__name__, ", ".join(self._layers))
        if not self._used:
            self._used = {name: layer_use(self._root, x, name, self.layout) for name in self._layers}
            unread = [name for name, use in self._used.items() if use == "nothing"]
            if unread:
                raise ValueError(
                    f"mixing at layer {', '.join(map(repr, unread))} cannot change the output: the classifier reads "
                    "nothing from its positions (a class token after the last block?); choose an earlier layer"
                )

    def draw_layer(self) -> str | None:
        """Draw where to mix: None for the input, or a layer's name."""
        if coin(self.input_probability, generator=self.generator):
            return None
        return (
            self._layers[choice(self._shares, generator=self.generator)] if len(self._layers) > 1 else self._layers[0]
        )
