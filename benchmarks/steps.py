"""A whole training step with each method against the same step without mixing, interleaved in one run.

python benchmarks/steps.py                      # PreActResNet-18, width 64, batch 128, 32x32
python benchmarks/steps.py --width 16 --repeats 9
"""

import argparse
import statistics
import time
import warnings

import torch
from torch import nn

from alignmixup import methods
from alignmixup.methods import Mixer
from alignmixup.models import PreActResNet18

CASES = {
    "baseline": ("baseline", {}),
    "mixup": ("mixup", {}),
    "cutmix": ("cutmix", {}),
    "manifold_mixup": ("manifold_mixup", {"layer": ["stage1", "stage2"]}),
    "alignmixup (input half, stage4 half)": ("alignmixup", {"layer": "stage4"}),
    "alignmixup, aligned at stage4": ("alignmixup", {"layer": "stage4", "input_probability": 0.0}),
    "alignmixup, aligned at stage3": ("alignmixup", {"layer": "stage3", "input_probability": 0.0}),
    "alignmixup, stage4, plain solver": (
        "alignmixup",
        {"layer": "stage4", "input_probability": 0.0, "solver": "plain"},
    ),
}


def seconds_of_step(model: nn.Module, mixer: Mixer, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor):
    start = time.perf_counter()
    with mixer(x, y) as batch:
        batch.loss(model(batch.x)).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--repeats", type=int, default=6, help="interleaved repetitions")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model = PreActResNet18(100, width=options.width).to(memory_format=torch.channels_last)
    x = torch.randn(options.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    y = torch.randint(100, (options.batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    mixers = {
        label: methods.build(name, model=model, num_classes=100, options=extra)
        for label, (name, extra) in CASES.items()
    }
    times: dict[str, list[float]] = {label: [] for label in CASES}
    for repeat in range(options.repeats + 1):
        for label, mixer in mixers.items():
            taken = seconds_of_step(model, mixer, optimizer, x, y)
            if repeat:  # the first round warms up and looks for layers
                times[label].append(taken)
    base = times["baseline"]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, width {options.width}, batch {options.batch}")
    print(f"baseline step {1e3 * statistics.median(base):.0f} ms ({1e3 * min(base):.0f}-{1e3 * max(base):.0f})")
    for label, taken in times.items():
        ratios = [mine / plain for mine, plain in zip(taken, base, strict=True)]
        print(f"{label:40} {statistics.median(ratios):5.3f} x baseline ({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
