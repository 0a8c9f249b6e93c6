"""What StyleMix and StyleCutMix add to a training step of PreActResNet-18, every batch mixed.

    python benchmarks/style.py [--width 64] [--batch 100] [--size 32] [--repeats 3]

The autoencoders are those of `alignmixup train-style` with a classifier of width 16 and 32 (the default), untrained,
which costs the same; and the orthonormal transform of patches. Times are processor time of one thread, least of the
repeats, which a busy machine disturbs little. A published recipe mixes 20 % (StyleMix) or 50 % (StyleCutMix) of the
batches: multiply the last columns by that.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from alignmixup import methods
from alignmixup.models import PreActResNet18
from alignmixup.models.style_autoencoder import StyleAutoencoder

NORMALISATION: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def autoencoders() -> Iterator[tuple[str, StyleAutoencoder]]:
    settings: dict[str, Any] = {key: list(value) for key, value in NORMALISATION.items()}
    yield "patches", StyleAutoencoder("patches", {"patch": 4})
    for width in (16, 32):
        yield f"width {width}", StyleAutoencoder("residual", {"stages": 2, "width": width, **settings})


def stepper(width: int, x: Tensor, y: Tensor) -> Callable[[], None]:
    model = PreActResNet18(100, width=width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)

    def step() -> None:
        torch.autograd.backward(cross_entropy(model(x), y))
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(function: Callable[[], Any], repeats: int) -> tuple[float, int]:
    """Seconds of processor time, and operations."""
    with FlopCounterMode(display=False) as counter:
        function()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds), counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"width": 64, "batch": 100, "size": 32, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(options.batch, 3, options.size, options.size).to(memory_format=torch.channels_last)
    y = torch.randint(100, (options.batch,))
    step_seconds, step_operations = measure(stepper(options.width, x, y), options.repeats)
    print(f"{'step without mixing':<24}{1e3 * step_seconds:9.0f} ms      time  operations")
    for label, autoencoder in autoencoders():
        for name in ("stylemix", "stylecutmix"):
            chosen = {"autoencoder": autoencoder}
            mixer = methods.build(name, num_classes=100, **NORMALISATION, options=chosen)
            seconds, operations = measure(partial(mixer, x, y), options.repeats)
            shares = f"{seconds / step_seconds:+10.1%}{operations / step_operations:+12.1%}"
            print(f"{name + ', ' + label:<24}{1e3 * seconds:9.0f} ms{shares}")


if __name__ == "__main__":
    main()
