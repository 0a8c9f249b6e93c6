"""What one training step costs besides the arithmetic: our engine, Hugging Face Accelerate, and a bare loop.

Each round times every contender once, in turn, so that a busy machine disturbs all alike; the table gives medians and
quartiles of the rounds. The tiny network shows the fixed cost of a step, PreActResNet-18 what it is worth.

    python benchmarks/engine.py [--rounds 30] [--precision fp32 bf16] [--threads 1]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.models import PreActResNet18
from alignmixup.training.config import TrainConfig
from alignmixup.training.engine import Engine

Step = Callable[[], None]


def tiny() -> tuple[nn.Module, Tensor, int]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(32, 64), 100


def resnet() -> tuple[nn.Module, Tensor, int]:
    torch.manual_seed(0)
    return PreActResNet18(10, width=16), torch.randn(32, 3, 32, 32), 2


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)


def bare(make: Callable[[], tuple[nn.Module, Tensor, int]], precision: str) -> Step:
    """The loop written out by hand, as the lower bound."""
    model, x, _ = make()
    device = Engine(TrainConfig()).device
    model, x = model.to(device), x.to(device)
    y = torch.zeros(len(x), dtype=torch.int64, device=device)
    optimizer = optimizer_of(model)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(x).float(), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def ours(make: Callable[[], tuple[nn.Module, Tensor, int]], precision: str) -> Step:
    """alignmixup.training.engine, as the trainer calls it."""
    engine = Engine(TrainConfig(precision=precision, clip_norm=1.0))
    model, x, _ = make()
    model, x = engine.place(model), x.to(engine.device)
    y = torch.zeros(len(x), dtype=torch.int64, device=engine.device)
    optimizer, wrapped = optimizer_of(model), engine.wrap(model)

    def step() -> None:
        with engine.gradients(reduced=True):
            with engine.autocast():
                loss = F.cross_entropy(wrapped(x).float(), y)
            engine.backward(loss)
        engine.update(optimizer)

    return step


def accelerate(make: Callable[[], tuple[nn.Module, Tensor, int]], precision: str) -> Step:
    """Accelerate in its documented loop."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # One process holds one precision; a second Accelerator with another one raises. Private, but the only way here.
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(mixed_precision={"fp32": "no"}.get(precision, precision))
    model, x, _ = make()
    x = x.to(accelerator.device)
    y = torch.zeros(len(x), dtype=torch.int64, device=accelerator.device)
    model, optimizer = accelerator.prepare(model, optimizer_of(model))

    def step() -> None:
        with accelerator.accumulate(model):
            loss = F.cross_entropy(model(x).float(), y)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return step


def time_of(step: Step, steps: int) -> float:
    """Milliseconds a step."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__}, {where}, {options.threads} threads, {options.rounds} rounds, ms a step")
    print(f"{'network':10}{'precision':>10}{'engine':>12}{'median':>9}{'quartiles':>18}{'over bare':>11}")
    for network in (tiny, resnet):
        for precision in options.precision:
            steps = {contender.__name__: contender(network, precision) for contender in (bare, ours, accelerate)}
            count = network()[2]
            times: dict[str, list[float]] = {name: [] for name in steps}
            for step in steps.values():
                time_of(step, count)
            for _ in range(options.rounds):
                for name, step in steps.items():
                    times[name].append(time_of(step, count))
            for name, values in times.items():
                low, middle, high = statistics.quantiles(values, n=4)
                over = middle - statistics.median(times["bare"])
                spread = f"{low:.3f}-{high:.3f}"
                print(
                    f"{network.__name__:10}{precision:>10}{name:>12}{middle:9.3f}{spread:>18}{over:+11.3f}", flush=True
                )


if __name__ == "__main__":
    main()
