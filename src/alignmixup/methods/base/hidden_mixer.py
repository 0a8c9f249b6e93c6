"""HiddenMixer: base of the methods that mix at the input or at one of several hidden layers, chosen per batch."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from alignmixup.functional.sampling import choice, coin
from alignmixup.methods.base.pair_mixer import PairMixer
from alignmixup.options import option
from alignmixup.taps import FeatureTap, Layout, Probe, layer_use, probe

logger = logging.getLogger("alignmixup")


@dataclass(eq=False, kw_only=True)
class HiddenMixer(PairMixer):
    """Base of the methods that mix hidden feature maps."""

    needs_model = "mixes inside the model"
    layer: str | nn.Module | Sequence[str | nn.Module] | None = option(
        None,
        "the hidden layer to mix at: a dotted name, the module, several of them, or None to find them from the first "
        "batch (what is found is logged)",
        fixed=True,
    )
    layer_probabilities: Sequence[float] | None = option(
        None,
        "share of each hidden layer among the batches that are not mixed at the input; None for equal shares",
        minimum=0,
        fixed=True,
    )
    input_probability: float = option(0.5, "share of batches mixed at the input, in [0, 1]", minimum=0, maximum=1)
    layout: Layout | None = option(None, "layout of the layers' outputs; None tells it from their shape", fixed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self._root is not None
        self._tap = FeatureTap.of(self._root)
        self._used: dict[str, str] = {}
        wanted = [self.layer] if isinstance(self.layer, str | nn.Module) else list(self.layer or ())
        self._layers = tuple(self._tap.attach(layer, self.layout) for layer in wanted)
        if self._layers:
            self._shares = self._check_shares()

    def _check_options(self) -> None:
        super()._check_options()
        if self.layer is not None and not isinstance(self.layer, str | nn.Module) and not list(self.layer):
            raise ValueError("layer names no layer: give one or several, or None to find them automatically")

    @property
    def layers(self) -> tuple[str, ...]:
        """Dotted names of the hidden layers to mix at; empty before the first batch where they are to be found."""
        return self._layers

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
