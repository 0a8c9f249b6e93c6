"""The layers of a network at which hidden mixing is right.

Look at a network with two random images and name the layers at which AlignMixup and Manifold mixup mix: shape,
positions, milliseconds, and the share of the logits that follows where two images exchange their features there
(1.000, or the layer is refused). --all makes the table of the networks of a library.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from alignmixup.terminal import say

if TYPE_CHECKING:
    from alignmixup.benchmarks.layers import LayersFound

_HIDDEN = ("alignmixup", "manifold_mixup")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="as in model.name, e.g. timm:resnet10t")
    parser.add_argument("--layer", metavar="NAME", help="a layer to check (default: those found automatically)")
    parser.add_argument("--size", type=int, metavar="N", help="side of the images (default: 224)")
    parser.add_argument("--channels", type=int, metavar="N", help="channels of the images (default: 3)")
    parser.add_argument("--batch", type=int, metavar="N", help="batch of the milliseconds (default: 64)")
    parser.add_argument(
        "--all",
        nargs="+",
        choices=("timm", "torchvision", "transformers", "monai", "generic"),
        metavar="LIBRARY",
        help="one small member of each module of timm, the classifiers of torchvision, those of transformers, "
        "of volumes of MONAI, and small ones of series and volumes",
    )


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    if (options.model is None) == (options.all is None):
        raise ValueError("name one MODEL, such as timm:resnet10t, or --all with libraries")
    given = {name: getattr(options, name) for name in ("layer", "size", "channels", "batch")}
    for name, value in given.items():
        if options.all is not None and value is not None:
            raise ValueError(f"--{name} {value}: it is for one MODEL, and --all chooses it for each; leave it out")
        if isinstance(value, int) and value < 1:
            raise ValueError(f"--{name} must be >= 1, got {value}")
    if options.all is not None:
        print_table(_all(options.all))
        return 0
    import torch

    from alignmixup import methods, models
    from alignmixup.taps import NotCallableError

    model = models.build(options.model, num_classes=10).train()
    size, channels, batch = options.size or 224, options.channels or 3, options.batch or 64
    x = torch.randn(2, channels, size, size).repeat((batch + 1) // 2, 1, 1, 1)
    refused = 0
    for name in _HIDDEN:
        mixer = methods.build(name, model=model, num_classes=10, options={"layer": options.layer})
        try:
            for report in mixer.check(x[:batch]):  # type: ignore[attr-defined]
                say(f"{name}: {report}, carries {report.share:.3f}, read: {report.use}")
        except (ValueError, NotCallableError) as error:
            refused += 1
            say(f"{name}: refused: {error}")
    return int(refused == len(_HIDDEN))


def _all(libraries: Iterable[str]) -> Iterator[LayersFound]:
    from alignmixup.benchmarks.layers import LIBRARIES, LayersFound, try_network

    for library in libraries:
        for network in LIBRARIES[library]():
            try:
                yield from try_network(network)
            except Exception as error:  # the library's own: the row says so, and the table goes on
                reason = " ".join(f"not built: {type(error).__name__}: {error}".split())[:200]
                yield LayersFound(f"{library}:{network.name}", "", (), (), None, reason)


def print_table(rows: Iterable[LayersFound]) -> None:
    """Print rows of Markdown as they come, and counts in the end."""
    say("| network | method | layers | shapes | carries |\n|---|---|---|---|---|", flush=True)
    found = count = 0
    for row in rows:
        shapes = ", ".join("x".join(map(str, shape[1:])) for shape in row.shapes)
        carries = row.refusal.replace("|", "/") if row.share is None else f"{row.share:.3f}"
        say(f"| {row.network} | {row.method} | {', '.join(row.layers)} | {shapes} | {carries} |", flush=True)
        found += row.share is not None
        count += bool(row.method)
    say(f"\nLayers found in {found} of {count} rows.")
