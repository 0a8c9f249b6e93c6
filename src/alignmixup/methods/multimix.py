"""MultiMix."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from alignmixup.functional.interpolation import combine
from alignmixup.functional.precision import exact_product
from alignmixup.functional.sampling import dirichlet, subsets, to_device, uniform
from alignmixup.methods.base import LayerMixer, MixedBatch
from alignmixup.options import option
from alignmixup.taps import Probe


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiMixDraw:
    """Draw of MultiMix.

    Attributes:
        weights: (n, B) float32 weights of the B examples in each of the n mixtures; rows sum to 1.
    """

    weights: Tensor


@dataclass(eq=False, kw_only=True)
class MultiMix(LayerMixer):
    """Make many mixtures of all embeddings of a batch, in front of the classifier: its loss has a term for each.

    The encoder sees B clean images and the classifier gives n rows, whatever B is. Where the classifier is a ``Linear``
    layer, a mixture's logits are the mixture of the logits, since weights sum to 1. So they are mixed behind it, which
    costs less and is the same.

    Source:
        Venkataramanan, Kijak, Amsaleg, Avrithis, Embedding Space Interpolation Beyond Mini-Batch, Beyond Pairs and
        Beyond Examples, NeurIPS 2023 (arXiv 2311.05538). No code was published.
    """

    mixtures: int = option(1000, "number n of mixtures of a batch, whatever its size", paper="1000", minimum=1)
    alpha: Sequence[float] = option(
        (0.5, 2.0),
        "least and largest α; each mixture has an own one, uniform between, and weights ~ Dirichlet(α)",
        paper="[0.5, 2]",
        above=0,
    )
    examples: int | None = option(
        None, "number of examples in a mixture; None for the whole batch", paper="the whole batch", minimum=2
    )
    layer: str | nn.Module | None = option(
        None,
        "the layer whose output is mixed: a dotted name, the module, or None for the Linear layer at the end, where "
        "this is to mix what goes into it",
        paper="the embedding, in front of the classifier",
    )

    reads_positions: ClassVar[bool] = False

    def _check_options(self) -> None:
        super()._check_options()
        if len(self.alpha) != 2 or self.alpha[0] > self.alpha[1]:
            raise ValueError(f"alpha must be (least, largest), got {self.alpha}: (1.0, 1.0) for α = 1")

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the Linear layer at the end."""
        modules = {layer.name: found.run.root.get_submodule(layer.name) for layer in found.run.layers}
        names = list(modules)
        last = next((name for name in reversed(names) if _is_linear(modules[name])), "")
        behind = names[names.index(last) + 1 :] if last else []
        learning = [name for name in behind if not last.startswith(f"{name}.") and list(modules[name].parameters())]
        if last and not learning and found.is_cut(last):
            return (last,)
        raise ValueError(
            f"{type(self).__name__} mixes what goes into the classifier, and {type(found.run.root).__name__} has no "
            "Linear layer at its end through which everything goes: name the layer whose output is the embedding, "
            "layer=..."
        )

    def draw(self, x: Tensor, target: Tensor) -> MultiMixDraw:
        """Draw α and the weights of each mixture, and its examples where they are some only."""
        size, count, generator = len(x), self.mixtures, self.generator
        length = size if self.examples is None else min(self.examples, size)
        alpha = uniform(self.alpha[0], self.alpha[1], count, generator=generator)
        weights = dirichlet(alpha, count, length, generator=generator).float()
        if length < size:
            chosen = subsets(count, size, length, generator=generator)
            weights = weights.new_zeros(count, size).scatter_(1, chosen, weights)
        return MultiMixDraw(weights=to_device(weights, x.device))

    def mix(self, x: Tensor, target: Tensor, draw: MultiMixDraw) -> MixedBatch:
        """Mix the labels, and record the function that will mix the embeddings."""
        draw = self.expect(MultiMixDraw, draw)
        mixed_target = exact_product(draw.weights, target)
        layer, function = self._mixed_layer(), partial(combine, weights=draw.weights)
        return MixedBatch(
            x,
            mixed_target,
            target,
            draw,
            {layer: self.layer_mix(layer, function, whole=True)},
            lam=draw.weights.amax(1),
            pairwise=False,
            tap=self._tap,
            scoped=True,
        )

    def _mixed_layer(self) -> str:
        if not self._layers:
            raise ValueError(
                f"the layer of {type(self).__name__} is not found yet: call mixer.prepare(x), with everything that the "
                "model takes, or name it with layer=..."
            )
        return self._layers[0]


def _is_linear(module: nn.Module) -> bool:
    """A layer of torch's own formula: one that is derived from it may normalise, and mixes otherwise behind."""
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
