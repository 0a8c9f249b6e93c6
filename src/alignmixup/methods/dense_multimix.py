"""Dense MultiMix."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from alignmixup.functional.alignment import batch_assignments
from alignmixup.functional.cells import MAX_POSITIONS
from alignmixup.functional.interpolation import attended, combine_carried, combine_positions, pooled_attention
from alignmixup.functional.precision import exact_product
from alignmixup.functional.transport.options import Alignment
from alignmixup.methods.base import DropIn, LateLabels, MixedBatch
from alignmixup.methods.base.drop_in import labels_come_later
from alignmixup.methods.multimix import MultiMix, MultiMixDraw
from alignmixup.options import option
from alignmixup.taps import Probe
from alignmixup.taps.layer_check import LayerReport

Attention = Literal["pooled", "uniform"]


@dataclass(eq=False, kw_only=True)
class DenseMultiMix(MultiMix, Alignment):
    """Make many mixtures of all examples of a batch at each position of the last map, and classify each by itself.

    The labels of an example hold at all its positions, more so where it attends: at a position, an example weighs its
    weight in the mixture times its attention there, and the weights are divided by their sum. Features and labels are
    mixed with the same weights. The model returns n r rows for r positions, and their labels are known once it has:
    ``batch.loss`` uses them, ``batch.output_target`` gives them.

    With ``aligned`` each mixture has the geometry of its heaviest example. The maps and the attention of the others are
    first carried to its positions by AlignMixup's assignment. This is not in the paper.

    Source:
        Venkataramanan, Kijak, Amsaleg, Avrithis, Embedding Space Interpolation Beyond Mini-Batch, Beyond Pairs and
        Beyond Examples, NeurIPS 2023 (arXiv 2311.05538), section 3.3. No code was published.
    """

    layer: str | nn.Module | None = option(
        None,
        "the layer whose map is mixed, of which the model reads the mean alone: a dotted name, the module, or None for "
        "the last map",
        paper="the last map",
    )
    attention: Attention = option(
        "pooled",
        'what an example weighs at a position: "pooled", the similarity with its pooled features where it is positive, '
        'or "uniform", the same everywhere',
        paper="similarity with pooled features",
    )
    aligned: bool = option(
        False, "carry the maps of a mixture to the positions of its heaviest example before they are mixed", paper="-"
    )
    max_positions: int | None = option(
        MAX_POSITIONS, "most positions of a map to be aligned; a larger one is refused; None: any, whatever it costs"
    )

    def find_layers(self, found: Probe) -> tuple[str, ...]:
        """Take the last map."""
        return (found.last(),)

    def _approve(self, reports: tuple[LayerReport, ...]) -> None:
        """Refuse a map of which more than the mean is read: its positions cannot be classified one by one."""
        for report in reports:
            forms = self._forms.get(report.name, ())
            one_map = len(forms) == 1 and forms[0] is not None and not forms[0].extra and report.positions > 1
            if report.use != "mean" or not one_map:
                reads = "reads more than the mean of" if one_map else "has no single map without class tokens at"
                raise ValueError(
                    f"DenseMultiMix classifies each position by itself, and the model {reads} layer {report.name!r}: "
                    "name a map that is averaged before the classifier, layer=..., or use MultiMix"
                )

    def drop_in(self) -> DropIn:
        """Refuse: the labels come later.

        Raises:
            TypeError: always.
        """
        raise labels_come_later("DenseMultiMix")

    def mix(self, x: Tensor, target: Tensor, draw: MultiMixDraw) -> MixedBatch:
        """Record the function that will mix the map and find the labels."""
        batch = super().mix(x, target, draw)
        layer, late = self._mixed_layer(), LateLabels()
        alignment = Alignment.part_of(self) if self.aligned else None
        function = partial(
            mix_map, weights=draw.weights, target=target, attention=self.attention, alignment=alignment, late=late
        )
        return replace(batch, hidden={layer: self.layer_mix(layer, function)}, late=late)


def mix_map(
    features: Tensor,
    *,
    weights: Tensor,
    target: Tensor,
    attention: Attention,
    alignment: Alignment | None = None,
    late: LateLabels,
) -> Tensor:
    """Mix a map (B, C, positions...) at each position, and note the labels of what comes out.

    Attention and assignments are constants: labels that had a gradient would be fitted to the network.

    Args:
        features: the map.
        weights: (n, B) of the examples in each mixture.
        target: (B, K) labels of the examples.
        attention: what an example weighs at a position.
        alignment: how maps are carried to the positions of a mixture's heaviest example; None where they stay.
        late: receives the labels (n r, K).

    Returns:
        (n r, C, 1...): all mixtures at the first position, at the second, and so on; maps of one position.
    """
    rows = features.flatten(2)
    shares = pooled_attention(rows.detach())
    if attention == "uniform":
        shares = torch.ones_like(shares)
    if alignment is None:
        at = attended(weights, shares)
        mixed = combine_positions(rows, at)
    else:
        heaviest, carried = weights.argmax(1), batch_assignments(rows, alignment)
        at = attended(weights, exact_product(carried, shares[..., None])[heaviest, ..., 0])
        mixed = combine_carried(rows, at, carried[heaviest])
    late.find(exact_product(at.flatten(0, 1), target))
    return mixed.view(*mixed.shape, *[1] * (features.ndim - 2))
