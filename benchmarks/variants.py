"""Ways to make alignment count that are not in the package: what was tried, and the command that tries it.

    python -m benchmarks.variants --root DIR [--seeds 3] [--jobs 2] [--only TEXT] [--out runs/variants]

Trains each variant with `configs/cifar100/small`, every batch mixed at one hidden layer, and the unaligned control
where there is none yet. Finished runs are read and unfinished ones continued; `alignmixup report OUT` shows them, and
docs/alignment.md what came out.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.functional.interpolation import lerp
from alignmixup.functional.labels import soft_labels
from alignmixup.functional.transport import assignment_matrix, cost_matrix, relative_cost, sinkhorn
from alignmixup.methods import Draw, HiddenMixer, MixedBatch
from alignmixup.methods.alignmixup import AlignDraw
from alignmixup.models import PreActResNet18
from alignmixup.taps import feature_maps

HERE = "benchmarks.variants"
# label -> configuration that it starts from, and what is set
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "manifold_mixup,attention_pool,layer=stage4": (
        "manifold_mixup",
        (f"model.name={HERE}:attention_pooled", "method.layer=stage4"),
    ),
    "alignmixup,attention_pool,layer=stage4": (
        "alignmixup",
        (f"model.name={HERE}:attention_pooled", "method.layer=stage4"),
    ),
    "PlanOfOtherLayers,layer=stage2,plan=stage4": (
        "alignmixup",
        (f"method.name={HERE}:PlanOfOtherLayers", "method.layer=stage2", "method.plan_layers=stage4"),
    ),
    "PlanOfOtherLayers,layer=stage3,plan=stage2+stage3+stage4": (
        "alignmixup",
        (f"method.name={HERE}:PlanOfOtherLayers", "method.layer=stage3", "method.plan_layers=stage2+stage3+stage4"),
    ),
    "GeometryTargets,layer=stage3,geometry=0.5": (
        "alignmixup",
        (f"method.name={HERE}:GeometryTargets", "method.layer=stage3", "method.geometry=0.5"),
    ),
    "NearestManifold,layer=stage3": (
        "manifold_mixup",
        (f"method.name={HERE}:NearestManifold", "method.layer=stage3"),
    ),
    "NearestAligned,layer=stage3": ("alignmixup", (f"method.name={HERE}:NearestAligned", "method.layer=stage3")),
    "RigidMixup,layer=stage2,pick=random": (
        "manifold_mixup",
        (f"method.name={HERE}:RigidMixup", "method.layer=stage2", "method.pick=random"),
    ),
    "RigidMixup,layer=stage2,pick=best": (
        "manifold_mixup",
        (f"method.name={HERE}:RigidMixup", "method.layer=stage2", "method.pick=best"),
    ),
}


class AttentionPool(nn.Module):
    """Average over the positions with learned weights, a softmax for each head's share of the channels.

    Unlike the mean it does not commute with alignment, and unlike a convolution it does not care where a feature
    stands. It starts as the mean.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, heads, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(x).flatten(2).softmax(dim=2)
        values = x.reshape(x.shape[0], weights.shape[1], -1, weights.shape[2])
        return torch.einsum("bhcr,bhr->bhc", values, weights).reshape(*x.shape[:2], 1, 1)


def attention_pooled(num_classes: int, *, heads: int = 4, **options: Any) -> nn.Module:
    """PreActResNet-18 that pools by attention."""
    model = PreActResNet18(num_classes, **options)
    model.pool = AttentionPool(model.head.in_features, heads)
    return model


@dataclass(eq=False, kw_only=True)
class PlanOfOtherLayers(AlignMixup):
    """Align by the costs of other layers: deeper ones know what a position shows, several do at several scales.

    Costs are relative, averaged over the layers on the coarsest grid; finer positions move with their block.

    Args:
        plan_layers: dotted names joined by "+".
    """

    plan_layers: str = "stage4"

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        batch = super().mix(x, target, draw)
        if draw.layer is None:
            return batch
        maps = list(feature_maps(self._root, x, self.plan_layers.split("+")).values())
        side = min(features.shape[2] for features in maps)
        maps = [F.adaptive_avg_pool2d(features, side).flatten(2) for features in maps]
        costs = [relative_cost(cost_matrix(features, features[draw.perm])) for features in maps]
        plan = sinkhorn(torch.stack(costs).mean(dim=0), self.epsilon, self.iterations).plan
        assignment = assignment_matrix(plan)
        function = partial(mix_blocks, perm=draw.perm, lam=draw.lam, keep=draw.keep, assignment=assignment, side=side)
        return replace(batch, hidden={draw.layer: function})


def mix_blocks(features: Tensor, perm: Tensor, lam: Tensor, keep: str, assignment: Tensor, side: int) -> Tensor:
    """Interpolate maps whose blocks are carried as ``assignment`` (B, side², side²) says."""
    block = features.shape[2] // side
    carried, weights = (features[perm], assignment.mT) if keep == "first" else (features, assignment)
    blocks = F.pixel_unshuffle(carried, block)
    carried = F.pixel_shuffle(torch.bmm(blocks.flatten(2), weights).view(blocks.shape), block)
    return lerp(carried, features, lam) if keep == "first" else lerp(features[perm], carried, lam)


@dataclass(eq=False, kw_only=True)
class GeometryTargets(AlignMixup):
    """Give the example whose geometry is kept a share of the other's label too.

    Args:
        geometry: that share, in [0, 1]; 0 is AlignMixup.
    """

    geometry: float = 0.5

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        batch = super().mix(x, target, draw)
        if draw.layer is None:
            return batch
        kept_first = isinstance(draw, AlignDraw) and draw.keep == "first"
        lam = draw.lam + self.geometry * (1 - draw.lam) if kept_first else draw.lam * (1 - self.geometry)
        return replace(batch, target=soft_labels(target, draw.perm, lam), lam=lam)


@dataclass(eq=False, kw_only=True)
class _Nearest(HiddenMixer):
    """Pair each image with a near one: least sum of distances over 30 % of the pairs, drawn at random."""

    partner_layer: str = "stage4"

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        features = F.normalize(feature_maps(self._root, x, [self.partner_layer])[self.partner_layer].mean(dim=(2, 3)))
        distances = torch.cdist(features, features).cpu()
        banned = torch.rand(distances.shape, generator=self.generator) >= 0.3
        distances = (distances + 100.0 * banned).fill_diagonal_(1000.0)
        perm = torch.as_tensor(linear_sum_assignment(distances.numpy())[1], device=x.device)
        return super().mix(x, target, replace(draw, perm=perm))


@dataclass(eq=False, kw_only=True)
class NearestManifold(_Nearest, ManifoldMixup):
    """Manifold mixup with near partners."""


@dataclass(eq=False, kw_only=True)
class NearestAligned(_Nearest, AlignMixup):
    """AlignMixup with near partners."""


@dataclass(eq=False, kw_only=True)
class RigidMixup(ManifoldMixup):
    """Flip and shift the partner's map as a whole, by up to one position, to where it is nearest; then interpolate.

    An alignment that leaves every neighbourhood as it was.

    Args:
        pick: "best", or "random" for the control that moves as much and aligns nothing.
    """

    pick: str = "best"

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        batch = super().mix(x, target, draw)
        if draw.layer is None:
            return batch
        chosen = None
        if self.pick == "random":
            chosen = torch.randint(18, (len(x),), generator=self.generator).to(x.device)
        return replace(batch, hidden={draw.layer: partial(mix_rigidly, perm=draw.perm, lam=draw.lam, chosen=chosen)})


def mix_rigidly(features: Tensor, perm: Tensor, lam: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Interpolate with the partner in the nearest, or in the chosen, of its 18 places."""
    places = torch.stack(list(_places(*features.shape[2:]))).to(features.device)
    partner = features[perm].flatten(2)
    if chosen is None:
        cost = cost_matrix(features.detach().flatten(2), partner.detach())
        chosen = cost[:, torch.arange(places.shape[1], device=cost.device), places].sum(dim=2).argmin(dim=1)
    moved = partner.gather(2, places[chosen][:, None].expand(partner.shape)).view(features.shape)
    return lerp(moved, features, lam)


def _places(height: int, width: int) -> Iterator[Tensor]:
    """For each flip and shift, which position of the partner stands at each position; edges are repeated."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for flip in (False, True):
        for down in (0, -1, 1):
            for right in (0, -1, 1):
                row = (rows + down).clamp(0, height - 1)
                column = (columns + right).clamp(0, width - 1)
                yield (row * width + (width - 1 - column if flip else column)).flatten()


def command(label: str, seed: int, root: str, out: Path) -> list[str]:
    """The command of one run; names of methods and models drop their options, so all are given."""
    start, settings = VARIANTS[label]
    network = ["model.variant=A", "model.width=8", "model.stem_stride=2", "model.strides=[1,2,2,1]"]
    network += ["model.final_norm=true", "model.in_channels=3"]
    mixing = ["method.alpha=2", "method.input_probability=0"]
    run = ["train", "--config", f"cifar100/small/{start}", "--out", str(out / f"{label}-seed{seed}"), "--resume"]
    sets = [f"data.root={root}", f"train.seed={seed}", *settings, *network, *mixing]
    return [sys.executable, "-m", "alignmixup", *run, "--set", *sets]


def train(arguments: Sequence[str]) -> int:
    result = subprocess.run(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    return result.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of CIFAR-100")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--only", default="", metavar="TEXT", help="variants whose name holds it")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    options = parser.parse_args()
    chosen = [label for label in VARIANTS if options.only in label]
    if not chosen:
        parser.error(f"--only {options.only}: no such variant; there are {', '.join(VARIANTS)}")
    runs = [command(label, seed, options.root, options.out) for seed in range(options.seeds) for label in chosen]
    with ThreadPoolExecutor(options.jobs) as pool:
        failed = sum(status != 0 for status in pool.map(train, runs))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
