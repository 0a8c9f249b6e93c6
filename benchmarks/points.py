"""Where index by index is known to fail: sets of points in any order, mixed with and without a match.

    python -m benchmarks.points --out runs/points

The digits as point sets: each image gives 64 points, drawn by brightness, in random order. A network that knows no
order (a PointNet: layers of each point, then the maximum) learns from 50 of each class. Point 7 of one set has nothing
to do with point 7 of another, so that mixing index by index scatters points; a match moves each the short way, as
PointMixup does (Chen et al., ECCV 2020). Where: `points`, the coordinates; `inside`, the features of each point behind
the first layers, in front of the maximum.

Methods, draws, table and the choice of the rate are those of `benchmarks.match`, but every batch is mixed. ε of the
match: 0.01 of squared distance for the coordinates in [-1, 1], the default for features.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.match import METHODS, USUAL, build_mixer, error, once, stored, table, train, work
from torch import Tensor, nn

from alignmixup import AlignMixup, data
from alignmixup.data.splits import first_per_class

CLASSES = 10
POINTS = 64
Sets = tuple[Tensor, Tensor]  # coordinates (N, 2, POINTS, 1) in [-1, 1], labels (N,)


class PointNet(nn.Module):
    """A classifier of sets of points: the same layers for every point, and the maximum over them."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.points = nn.Identity()
        self.first = _layers(2, width)
        self.second = _layers(width, 2 * width)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of coordinates (B, 2, N, 1)."""
        return self.head(self.second(self.first(self.points(x))).amax((2, 3)))


def _layers(channels: int, width: int) -> nn.Sequential:
    def one(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]

    return nn.Sequential(*one(channels), *one(width))


@dataclass(frozen=True)
class Where:
    """Where is mixed; the rates to choose from are the same."""

    name: str
    epochs: int = 60
    rates: tuple[float, ...] = (0.001, 0.003, 0.01)

    def __str__(self) -> str:
        return self.name

    @property
    def layer(self) -> str:
        return {"points": "points", "inside": "first"}[self.name]

    @property
    def options(self) -> dict[str, Any]:
        """Of the match."""
        chosen = {"epsilon": 0.01} if self.name == "points" else {}
        return {"layout": "channels_first", **chosen}


def draw_points(images: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 2, POINTS, 1) points in random order: pixels by brightness, and a place inside the pixel.

    Args:
        images: (N, 1, h, w), >= 0.
        generator: draws them.
    """
    height, width = images.shape[2:]
    pixels = torch.multinomial(images.flatten(1).float(), POINTS, replacement=True, generator=generator)
    places = torch.stack([pixels % width, pixels // width], 1)
    inside = torch.rand(places.shape, generator=generator)
    return (2 * (places + inside) / torch.tensor([[width], [height]]) - 1).unsqueeze(3)


def point_sets() -> dict[str, Sets]:
    """The sets of three splits: 50 and 20 images of each class to train and to choose on, and 1,097 to test on."""
    digits = data.load("digits")
    images, labels = (
        torch.cat([getattr(part, name) for part in (digits.train, digits.test)]) for name in ("images", "labels")
    )
    train, both = first_per_class(labels, 50), first_per_class(labels, 70)
    parts = {"train": train, "other": both[~torch.isin(both, train)]}
    every = torch.arange(len(labels))
    parts["test"] = every[~torch.isin(every, both)]
    generator = torch.Generator().manual_seed(0)
    return {name: (draw_points(images[part], generator), labels[part]) for name, part in parts.items()}


def one_run(sets: dict[str, Sets], asked: dict[str, Any]) -> dict[str, Any]:
    """Train one network, and what it does on the split that is asked."""
    start, where = time.process_time(), Where(asked["place"])
    torch.manual_seed(asked["seed"])
    model = PointNet()
    mixer = build_mixer(
        asked["method"], model, where.layer, CLASSES, asked["seed"], probability=asked["share"], **where.options
    )
    found: dict[str, Any] = {}
    if isinstance(mixer, AlignMixup):
        (report,) = mixer.check(sets["train"][0][:2])
        found = {"carried": report.share, "read": report.use, "positions": report.positions}
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked["rate"], weight_decay=0.05)
    train(model, optimizer, mixer, sets["train"], epochs=asked["epochs"], seed=asked["seed"])
    part = sets[asked["split"]]
    found |= {"error_percent": error(model, part), "error_percent_permuted": error(model, part, permuted=True)}
    return found | {"seconds": time.process_time() - start}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/points"), help="runs (default: %(default)s)")
    parser.add_argument("--at", type=Where, nargs="+", default=[Where("points"), Where("inside")], help="places")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=USUAL)
    parser.add_argument("--share", type=float, default=1.0, help="share of the batches that are mixed (default: all)")
    parser.set_defaults(pairs="random")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N - 1 (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="(default: 60)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    file, sets = options.out / "runs.jsonl", point_sets()

    def ask(asked: dict[str, Any]) -> dict[str, Any]:
        return once(asked | {"share": options.share}, file=file, measure=partial(one_run, sets))

    work(options, ask)
    print(table(stored(file)))


if __name__ == "__main__":
    main()
