"""Controls for what aligning does: methods that move the partner's features and align nothing.

    python -m alignmixup compare --data cifar100 --recipe small --methods alignmixup --seeds 3 --jobs 2 \\
      --sweep method.name=benchmarks.controls:PermutedMixup,benchmarks.controls:FlippedMixup \\
      --set data.root=DIR data.augment=none method.layer=stage2 method.input_probability=0.5

The other rows: without `data.augment=none`, with `--data tiny-imagenet`, and on digits with the options of the command
for aligned and unaligned there. What came out: docs/studies/alignment.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.functional.alignment import align
from alignmixup.functional.interpolation import lerp
from alignmixup.methods import MixedBatch
from alignmixup.methods.alignmixup import AlignDraw
from alignmixup.methods.manifold_mixup import ManifoldDraw


@dataclass(frozen=True, eq=False, kw_only=True)
class PermutedDraw(AlignDraw):
    """AlignMixup's draw, and the seed of the permutations."""

    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class FlippedDraw(ManifoldDraw):
    """Manifold mixup's draw, and the seed of the flips and shifts."""

    seed: int


@dataclass(eq=False, kw_only=True)
class PermutedMixup(AlignMixup):
    """AlignMixup with a random permutation of the positions, one a sample, in place of the assignment."""

    def draw(self, x: Tensor, target: Tensor) -> PermutedDraw:
        return PermutedDraw(**vars(super().draw(x, target)), seed=peeked_seed(self.generator))

    def mix(self, x: Tensor, target: Tensor, draw: PermutedDraw) -> MixedBatch:
        draw = self.expect(PermutedDraw, draw)
        batch = super().mix(x, target, draw)
        if draw.layer is None:
            return batch
        function = partial(mix_permuted, draw=draw, seed=draw.seed)
        return replace(batch, hidden={draw.layer: self.layer_mix(draw.layer, function)})


def peeked_seed(generator: torch.Generator) -> int:
    """What the generator would give next; it goes on as if nobody had asked, and so draws what AlignMixup draws."""
    return int(torch.randint(2**31, (), generator=torch.Generator().set_state(generator.get_state())))


def mix_permuted(features: Tensor, draw: AlignDraw, seed: int) -> Tensor:
    """Interpolate after one map's positions were permuted at random."""
    generator = torch.Generator().manual_seed(seed)
    first, partner = features.flatten(2), features[draw.perm].flatten(2)
    order = torch.rand(first.shape[0], first.shape[2], generator=generator).argsort(dim=1)
    assignment = torch.eye(first.shape[2])[order].to(features)
    at_first, at_partner = align(first, partner, assignment)
    kept = lerp(at_first, first, draw.lam) if draw.keep == "first" else lerp(partner, at_partner, draw.lam)
    return kept.view(features.shape)


@dataclass(eq=False, kw_only=True)
class FlippedMixup(ManifoldMixup):
    """Manifold mixup whose partner's map is flipped in half of the pairs and shifted by up to an eighth, as a whole."""

    alpha: float = 2.0

    def draw(self, x: Tensor, target: Tensor) -> FlippedDraw:
        return FlippedDraw(**vars(super().draw(x, target)), seed=peeked_seed(self.generator))

    def mix(self, x: Tensor, target: Tensor, draw: FlippedDraw) -> MixedBatch:
        draw = self.expect(FlippedDraw, draw)
        batch = super().mix(x, target, draw)
        if draw.layer is None:
            return batch
        function = partial(mix_flipped, perm=draw.perm, lam=draw.lam, seed=draw.seed)
        return replace(batch, hidden={draw.layer: self.layer_mix(draw.layer, function)})


def mix_flipped(features: Tensor, perm: Tensor, lam: Tensor, seed: int) -> Tensor:
    """Interpolate with the partner flipped and shifted at random; edges are repeated."""
    places = torch.stack(list(_places(*features.shape[2:])))
    chosen = torch.randint(len(places), (len(features),), generator=torch.Generator().manual_seed(seed))
    partner = features[perm].flatten(2)
    index = places[chosen].to(features.device)[:, None].expand(partner.shape)
    return lerp(partner.gather(2, index).view(features.shape), features, lam)


def _places(height: int, width: int) -> Iterator[Tensor]:
    """For each flip and shift, which position of the partner stands at each position."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    down, right = max(height // 8, 1), max(width // 8, 1)
    for flip in (False, True):
        for y in range(-down, down + 1):
            for x in range(-right, right + 1):
                row, column = (rows + y).clamp(0, height - 1), (columns + x).clamp(0, width - 1)
                yield (row * width + (width - 1 - column if flip else column)).flatten()
