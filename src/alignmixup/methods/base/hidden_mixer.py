"""HiddenMixer: base of the methods that mix at the input or at one of several hidden layers, chosen per batch."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alignmixup.functional.alignment import Keep
from alignmixup.functional.interpolation import mixup
from alignmixup.functional.sampling import choice, coin
from alignmixup.methods.base.annotations import Parents
from alignmixup.methods.base.batch import Draw, MixedBatch
from alignmixup.methods.base.layer_mixer import LayerMixer
from alignmixup.methods.base.pair_mixer import PairMixer
from alignmixup.options import option
from alignmixup.taps import Hidden


@dataclass(frozen=True, eq=False, kw_only=True)
class HiddenDraw(Draw):
    """Draw of a method that mixes inside the model.

    Attributes:
        layer: dotted name of the layer to mix at; None for plain mixup of the input.
        keep: whose positions survive, where positions are aligned.
    """

    layer: str | None
    keep: Keep = "first"


@dataclass(eq=False, kw_only=True)
class HiddenMixer(LayerMixer, PairMixer):
    """Base of the methods that mix each sample with one partner, at the input or in a hidden feature map."""

    layer_probabilities: Sequence[float] | None = option(
        None,
        "share of each hidden layer among the batches that are not mixed at the input; None for equal shares",
        minimum=0,
        fixed=True,
    )
    input_probability: float = option(0.5, "share of batches mixed at the input, in [0, 1]", minimum=0, maximum=1)

    def _take(self, layers: Sequence[str | nn.Module]) -> None:
        super()._take(layers)
        self._shares = self._check_shares()

    def _check_shares(self) -> list[float]:
        shares = list(self.layer_probabilities or [1.0] * len(self._layers))
        if len(shares) != len(self._layers) or sum(shares) <= 0:
            raise ValueError(
                f"layer_probabilities must be one non-negative number for each of {list(self._layers)}, got {shares}"
            )
        return shares

    @property
    def is_scoped(self) -> bool:
        """A batch may be mixed inside the model, so that it must be entered and cannot be unpacked."""
        return self.input_probability < 1

    @abstractmethod
    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        """Give the function of a map (B, C, positions...) that mixes a layer with these partners and coefficients."""

    def _mix_pair(self, maps: Tensor) -> Tensor:
        """Mix maps of two examples with each other, to see how long it takes."""
        perm, lam = (
            torch.tensor([1, 0], device=maps.device),
            torch.full((2,), 0.5, dtype=torch.float32, device=maps.device),
        )
        return self.interpolation(perm, lam, "first")(maps)

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Mix the images now, or record the function that will mix the layer."""
        draw = self.expect(HiddenDraw, draw)
        mixed_target = self.mixed_target(target, draw)
        if draw.layer is None:
            mixed = mixup(x, draw.perm, draw.lam)
            parents = Parents(draw.perm)
            return MixedBatch(mixed, mixed_target, target, draw, tap=self._tap, scoped=self.is_scoped, parents=parents)
        function = self.interpolation(draw.perm, draw.lam, draw.keep)
        mix = self.layer_mix(draw.layer, function, whole=not self.reads_positions)
        parents = self.parents(draw)
        return MixedBatch(x, mixed_target, target, draw, {draw.layer: mix}, tap=self._tap, scoped=True, parents=parents)

    def parents(self, draw: HiddenDraw) -> Parents:
        """Tell where a sample mixed at a hidden layer shows its parents: here in place."""
        return Parents(draw.perm)

    def draw_layer(self) -> str | None:
        """Draw where to mix: None for the input, or a layer's name."""
        if coin(self.input_probability, generator=self.generator):
            return None
        if not self._layers:
            raise ValueError(
                f"the layers of {type(self).__name__} are not found yet: call mixer.prepare(x), with everything that "
                "the model takes, or name them with layer=..."
            )
        return (
            self._layers[choice(self._shares, generator=self.generator)] if len(self._layers) > 1 else self._layers[0]
        )
