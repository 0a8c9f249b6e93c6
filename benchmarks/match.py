"""Where does the match pay? Aligned, permuted and unaligned mixing of the features of a frozen stem.

    python -m benchmarks.match --root CALTECH101 --weights lite0.safetensors --out runs/match

EfficientNet-Lite0, trained on ImageNet (`python -m benchmarks.lite0`), is cut in two. The stem, up to a stage, is
frozen: its features of all images are computed once, without augmentation, and kept in OUT. What is behind it is
trained on 10 images a class: the other stages with a new classifier, or a token network (two transformer blocks that
know no positions, and the mean of the tokens). Half of the batches are mixed at the cut. So a run takes seconds. It is
a frozen-stem experiment: the mixing never trains what is before it.

Methods: none; unaligned; aligned; soft (aligned by a cost divided by its mean: plans far from permutations); permuted
(a random order in the place of the plan); the last three in one direction (the first example's positions stay) and in
two (a fair coin a batch). By seed all have the same start, order of images, λ, partners and coins.

Places (--at): blocks.4 (8x8 positions at 128 pixels), blocks.5 and blocks.6 (4x4) with the rest of the network, behind
blocks.6 nothing reads the order of positions; tokens.4 and tokens.5 with a token network behind those stages;
inside.4 and inside.5: the same, mixed behind its first transformer block; mean.7, gem.7 and attention.7: behind the
very last map (4x4), with that pooling and a new classifier. Each line of the table says how far the
network behind reads the order: the baseline's error where the positions of test images are permuted.

--pairs class: images of one class are mixed (their labels stay), in batches of such pairs, for all methods.

The learning rate of a place is that of three with which the method "none" errs least on 10 other training images a
class ("held out" in the table). What is in OUT is not trained again: the same command goes on where it was stopped.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.controls import PermutedMixup
from benchmarks.lite0 import NAME
from torch import Tensor, nn
from torch.nn import functional as F

from alignmixup import AlignMixup, Baseline, data, models
from alignmixup.data.splits import evenly_spaced, first_per_class
from alignmixup.files import write_atomically
from alignmixup.functional.alignment import Keep
from alignmixup.functional.interpolation import mixup
from alignmixup.methods.base import Mixer
from alignmixup.models.weights import read_weights
from alignmixup.taps import Hidden

LAST = 7  # behind all of them and the last convolution
FIRST = 4  # the stage behind which features are kept; deeper ones are computed from them
METHODS = ("none", "unaligned", "aligned 1", "aligned 2", "soft 1", "soft 2", "permuted 1", "permuted 2")
USUAL = ("none", "unaligned", "aligned 1", "aligned 2", "permuted 1", "permuted 2")
Features = dict[str, tuple[Tensor, Tensor]]  # of each split: maps (N, C, h, w) float16 and labels (N,)


@dataclass(eq=False, kw_only=True)
class UnalignedMixup(AlignMixup):
    """AlignMixup's draws, and features that stay where they are."""

    def interpolation(self, perm: Tensor, lam: Tensor, keep: Keep) -> Hidden:
        return partial(mixup, perm=perm, lam=lam)


class Tokens(nn.Module):
    """A classifier of a map's positions that does not know where they are: transformer blocks and a mean."""

    def __init__(self, channels: int, num_classes: int, width: int = 96, depth: int = 2) -> None:
        super().__init__()
        self.cut = nn.Identity()
        self.embed = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        block = partial(nn.TransformerEncoderLayer, width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.Sequential(*(block() for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of maps (B, C, h, w)."""
        tokens = self.embed(self.cut(x).flatten(2).transpose(1, 2))
        return self.classifier(self.norm(self.blocks(tokens)).mean(1))


class GeM(nn.Module):
    """Generalised mean of positions: (mean x^p)^(1/p) of maps (B, C, h, w) with a learned p, 3 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features (B, C)."""
        return x.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


class Attention(nn.Module):
    """Mean of positions weighted by a learned query, the plain mean at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features (B, C)."""
        positions = x.flatten(2).transpose(1, 2)
        weights = (F.layer_norm(positions, positions.shape[2:]) @ self.query).softmax(1)
        return torch.einsum("brc,br->bc", positions, weights)


class Behind(nn.Module):
    """The last modules of a network, trained on, and a new classifier."""

    def __init__(self, features: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cut = nn.Identity()
        self.features = features
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of maps (B, C, h, w)."""
        return self.classifier(self.features(self.cut(x)))


@dataclass(frozen=True)
class Place:
    """Where is mixed, and what is trained behind the stem."""

    kind: str  # blocks, tokens, inside, mean, gem, attention
    stage: int

    @classmethod
    def named(cls, text: str) -> "Place":
        kind, _, stage = text.partition(".")
        pooled = kind in ("mean", "gem", "attention") and stage == "7"
        if not pooled and (kind not in ("blocks", "tokens", "inside") or stage not in ("4", "5", "6")):
            raise argparse.ArgumentTypeError(
                f"{text}: expected blocks, tokens or inside, a dot, and 4, 5 or 6, or mean.7, gem.7 or attention.7"
            )
        return cls(kind, int(stage))

    def __str__(self) -> str:
        return f"{self.kind}.{self.stage}"

    @property
    def epochs(self) -> int:
        """Transformer blocks start from nothing."""
        return 20 if self.is_transformer else 12

    @property
    def is_transformer(self) -> bool:
        return self.kind in ("tokens", "inside")

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates to choose from."""
        usual = 0.001 if self.is_transformer else 0.01 if self.kind == "blocks" else 0.003
        return usual / 3, usual, 3 * usual

    @property
    def layer(self) -> str:
        return "blocks.0" if self.kind == "inside" else "cut"

    def build(self, network: nn.Module, channels: int, num_classes: int) -> nn.Module:
        """What is trained, with new weights from torch's generator where there are none."""
        if self.is_transformer:
            return Tokens(channels, num_classes)
        width = network.classifier.in_features
        if self.kind == "blocks":
            last = (network.conv_head, network.bn2, network.global_pool)
            return Behind(nn.Sequential(*network.blocks[self.stage + 1 :], *last), width, num_classes)
        pools = {"mean": lambda: network.global_pool, "gem": GeM, "attention": lambda: Attention(width)}
        return Behind(pools[self.kind](), width, num_classes)

    def optimizer(self, model: nn.Module, rate: float) -> torch.optim.Optimizer:
        """SGD as in fine-tuning, the head ten times as fast; AdamW for transformer blocks."""
        if self.is_transformer:
            return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
        head, rest = model.get_submodule("classifier"), model.get_submodule("features")
        rest_rate = 10 * rate if self.kind == "attention" else rate  # it starts from nothing, as the head does
        groups = [{"params": rest.parameters(), "lr": rest_rate}, {"params": head.parameters(), "lr": 10 * rate}]
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-4)


def build_mixer(
    method: str, model: nn.Module, layer: str, num_classes: int, seed: int, *, probability: float = 0.5, **options: Any
) -> Mixer:
    """The mixer of a name of ``METHODS``, with options of AlignMixup; mixed batches are all mixed at the layer."""
    if method == "none":
        return Baseline(model, num_classes=num_classes, seed=seed)
    name, _, directions = method.partition(" ")
    kinds = {"unaligned": UnalignedMixup, "aligned": AlignMixup, "soft": AlignMixup, "permuted": PermutedMixup}
    kind, keep = kinds[name], "first" if directions == "1" else "random"
    if name == "soft":
        options["normalize_cost"] = True
    shares = {"probability": probability, "input_probability": 0.0}
    return kind(model, num_classes=num_classes, layer=layer, keep=keep, seed=seed, **shares, **options)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    mixer: Mixer,
    images: tuple[Tensor, Tensor],
    *,
    epochs: int,
    seed: int,
    pairs: str = "random",
) -> None:
    """Train on maps and labels: batches of 32, a cosine with a warm-up of one epoch; ``pairs``: random, or class."""
    x, y = images
    if pairs == "class":
        mixer.draw_perm = lambda size: torch.arange(size) ^ 1  # type: ignore[attr-defined]
    order = torch.Generator().manual_seed(seed)
    steps = -(-len(x) // 32)
    schedules = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / steps, total_iters=steps),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * (epochs - 1)),
    ]
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, schedules, [steps])
    for _ in range(epochs):
        model.train()
        shown = torch.randperm(len(x), generator=order) if pairs == "random" else in_pairs(y, order)
        for index in shown.split(32):
            with mixer(x[index].float(), y[index]) as batch:
                batch.loss(model(batch.x)).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()


def in_pairs(labels: Tensor, generator: torch.Generator) -> Tensor:
    """All examples in random order, each second one after another of its class; an odd one of a class is left out."""
    found = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        found.append(own[: len(own) // 2 * 2].view(-1, 2))
    pairs = torch.cat(found)
    return pairs[torch.randperm(len(pairs), generator=generator)].flatten()


@torch.no_grad()
def error(model: nn.Module, features: tuple[Tensor, Tensor], *, permuted: bool = False) -> float:
    """Error in percent; of maps whose positions stand in random order, one for all images."""
    model.eval()
    wrong = 0
    order = torch.randperm(features[0][0, 0].numel(), generator=torch.Generator().manual_seed(0))
    for x, y in zip(*(tensor.split(500) for tensor in features), strict=True):
        shown = x.flatten(2)[..., order].view(x.shape) if permuted else x
        wrong += int((model(shown.float()).argmax(1) != y).sum())
    return 100 * wrong / len(features[1])


@torch.no_grad()
def extract(network: nn.Module, stem: nn.Module, images: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Maps of a stem in eval mode, and labels."""
    network.eval()
    found = [(stem(x).half(), y) for x, y in images]
    return torch.cat([x for x, _ in found]), torch.cat([y for _, y in found])


def cached_features(options: argparse.Namespace) -> Features:
    """The maps behind stage ``FIRST`` of the three splits, from the file or computed."""
    file = options.out / "features.pt"
    if file.is_file():
        return torch.load(file, weights_only=True)
    how: dict[str, Any] = {"image_size": options.size, "normalization": "half", "in_memory": False}
    images = data.load("folder", root=options.root, **how)
    some = first_per_class(images.train.labels, options.images)
    more = first_per_class(images.train.labels, 2 * options.images)
    other = more[~torch.isin(more, some)]
    test = evenly_spaced(len(images.test), min(options.test, len(images.test)))
    parts = {
        "train": images.train.select(some),
        "other": images.train.select(other),
        "test": images.test.select(test),
    }
    network = load_network(options.weights)
    stem = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[: FIRST + 1])
    stem = stem.to(memory_format=torch.channels_last)
    found = {}
    for name, part in parts.items():
        loader = data.build_loaders(replace(images, test=part), batch_size=100, augment=None, device="cpu")[1]
        found[name] = extract(network, stem, loader)
        print(f"{name}: {len(part)} images, maps {tuple(found[name][0].shape[1:])}", flush=True)
    write_atomically(file, partial(torch.save, found))
    return found


def load_network(weights: Path) -> Any:
    network = models.build(f"timm:{NAME}", num_classes=1000)
    network.load_state_dict(read_weights(weights))
    return network


def one_run(weights: Path, features: Features, asked: dict[str, Any]) -> dict[str, Any]:
    """Train one network, and what it does on the split that is asked."""
    start, network, place = time.process_time(), load_network(weights), Place.named(asked["place"])
    classes = int(features["train"][1].max()) + 1
    torch.manual_seed(asked["seed"])
    model = place.build(network, features["train"][0].shape[1], classes).to(memory_format=torch.channels_last)
    mixer = build_mixer(asked["method"], model, place.layer, classes, asked["seed"])
    found: dict[str, Any] = {}
    if isinstance(mixer, AlignMixup):
        (report,) = mixer.check(features["train"][0][:2].float())
        found = {"carried": report.share, "read": report.use, "positions": report.positions}
    optimizer = place.optimizer(model, asked["rate"])
    train(model, optimizer, mixer, features["train"], epochs=asked["epochs"], seed=asked["seed"], pairs=asked["pairs"])
    part = features[asked["split"]]
    found |= {"error_percent": error(model, part), "error_percent_permuted": error(model, part, permuted=True)}
    return found | {"seconds": time.process_time() - start}


def deeper(features: Features, stage: int, weights: Path) -> Features:
    """The maps behind a later stage of the frozen network."""
    if stage == FIRST:
        return features
    network = load_network(weights)
    last = (network.conv_head, network.bn2) if stage == LAST else ()
    stem = nn.Sequential(*network.blocks[FIRST + 1 : stage + 1], *last)
    batches = {name: zip(*(one.split(100) for one in (x.float(), y)), strict=True) for name, (x, y) in features.items()}
    return {name: extract(network, stem, some) for name, some in batches.items()}


def known(place: Place, method: str, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What a run is known by."""
    epochs = options.epochs or place.epochs
    return {"place": str(place), "method": method, "pairs": options.pairs, "epochs": epochs, "seed": 0, **more}


def work(options: argparse.Namespace, ask: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Choose the rate of each place, then all methods, seed by seed; ``ask`` gives what a run found."""
    for place in options.at:
        held_out = [ask(known(place, "none", options, rate=rate, split="other")) for rate in place.rates]
        best = min(held_out, key=lambda run: run["error_percent"])["rate"]
        for seed in range(options.seeds):
            for method in options.methods:
                ask(known(place, method, options, rate=best, split="test", seed=seed))


def stored(file: Path) -> list[dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [{"pairs": "random"} | json.loads(line) for line in lines]


def once(asked: dict[str, Any], *, file: Path, measure: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The run that is asked for: read from a file with one a line, or measured, shown and added to it."""
    for run in stored(file):
        if asked.items() <= run.items():
            return run
    run = asked | measure(asked)
    print(json.dumps(run), flush=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(run) + "\n")
    return run


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, in Markdown; differences are paired by seed."""
    lines = ["| place | method | rate | error | minus unaligned | minus permuted | other order | carried | seeds |"]
    lines.append("|" + "---|" * lines[0].count(" | ") + "---|")
    groups: dict[Any, dict[int, dict[str, Any]]] = {}
    for run in runs:
        key = (run["place"], run.get("pairs", "random"), run["rate"], run["split"], run["method"])
        groups.setdefault(key, {})[run["seed"]] = run

    def minus(own: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> str:
        both = [own[seed]["error_percent"] - other[seed]["error_percent"] for seed in own if seed in other]
        return spread(both, "+") if both else ""

    for (place, pairs, rate, split, method), own in sorted(groups.items()):
        key = (place, pairs, rate, split)
        beside: Callable[[str], Any] = lambda name, key=key: groups.get((*key, name), {})  # noqa: E731
        cells = [
            place + (", one class" if pairs == "class" else "") + (", held out" if split == "other" else ""),
            method,
            f"{rate:.2g}",
            spread([run["error_percent"] for run in own.values()]),
            minus(own, beside("unaligned")) if method not in ("none", "unaligned") else "",
            minus(own, beside(f"permuted {method[-1]}")) if method.startswith(("aligned", "soft")) else "",
            spread([run["error_percent_permuted"] for run in own.values()]),
            " ".join(sorted({f"{run['carried']:.3f}" for run in own.values() if "carried" in run})),
            str(len(own)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.2f}{deviation}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--weights", type=Path, required=True, help="what benchmarks.lite0 wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/match"), help="features and runs (default: %(default)s)")
    places = [Place.named(text) for text in ("blocks.6", "tokens.5", "blocks.5", "tokens.4", "blocks.4")]
    parser.add_argument("--at", type=Place.named, nargs="+", default=places, help="places, as above")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=USUAL)
    parser.add_argument("--pairs", choices=("random", "class"), default="random", help="partners (default: random)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N - 1 (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="(default: 12, of tokens 20)")
    parser.add_argument("--images", type=int, default=10, help="training images a class (default: %(default)s)")
    parser.add_argument("--test", type=int, default=2000, help="evenly spaced test images (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the images (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    file, maps = options.out / "runs.jsonl", {FIRST: cached_features(options)}

    def measure(asked: dict[str, Any]) -> dict[str, Any]:
        stage = Place.named(asked["place"]).stage
        if stage not in maps:
            maps[stage] = deeper(maps[FIRST], stage, options.weights)
        return one_run(options.weights, maps[stage], asked)

    work(options, partial(once, file=file, measure=measure))
    print(table(stored(file)))


if __name__ == "__main__":
    main()
