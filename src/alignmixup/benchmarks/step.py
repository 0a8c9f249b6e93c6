"""A whole training step with each method over the same step without mixing."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alignmixup.benchmarks.report import Report

if TYPE_CHECKING:
    from torch import Tensor, nn

    from alignmixup.methods import Mixer
    from alignmixup.training.engine import Engine

# label: method and its options; layers are those of PreActResNet-18, None finds one in any other network
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("baseline", {}),
    "mixup": ("mixup", {}),
    "cutmix": ("cutmix", {}),
    "saliencymix": ("saliencymix", {}),
    "puzzlemix": ("puzzlemix", {}),
    "comixup": ("comixup", {}),
    "stylemix, patches": ("stylemix", {"autoencoder": "patches"}),
    "stylecutmix, patches": ("stylecutmix", {"autoencoder": "patches"}),
    "manifold_mixup": ("manifold_mixup", {"layer": ["stage1", "stage2"]}),
    "alignmixup (input half, stage4 half)": ("alignmixup", {"layer": "stage4"}),
    "alignmixup, every batch at stage4": ("alignmixup", {"layer": "stage4", "input_probability": 0.0}),
    "alignmixup, every batch at stage3": ("alignmixup", {"layer": "stage3", "input_probability": 0.0}),
    "alignmixup, stage4, plain loop": ("alignmixup", {"layer": "stage4", "input_probability": 0.0, "solver": "plain"}),
    "alignmixup_ae, every batch clean and reconstructed": ("alignmixup_ae", {"layer": "stage4", "clean_share": 1.0}),
}

PROFILED = "alignmixup, every batch at stage4"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this question."""
    parser.add_argument("--width", type=int, default=64, help="channels of PreActResNet-18's first stage (default: 64)")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch (default: 128)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (default: 32)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16", "auto"), default="fp32", help="autocast")
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    modes = ("default", "reduce-overhead", "max-autotune")
    parser.add_argument("--compile-mode", choices=modes, default="default", help="reduce-overhead records CUDA graphs")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=CASES, help="these cases, and the baseline")
    parser.add_argument("--contiguous", action="store_true", help="images and weights not channels-last")


def run(options: argparse.Namespace) -> Report:
    """Time every case."""
    from contextlib import closing

    import torch

    from alignmixup.benchmarks.measure import interleave, rates
    from alignmixup.training.config import TrainConfig
    from alignmixup.training.engine import Engine

    if options.batch < 1 or options.size < 8:
        raise ValueError(f"--batch must be >= 1 and --size >= 8, got {options.batch} and {options.size}")
    config = TrainConfig(
        device=options.device,
        precision=options.precision,
        channels_last=not options.contiguous,
        compile=options.compile,
        compile_mode=options.compile_mode,
    )
    with closing(Engine(config)) as engine:
        steps = make_steps(engine, options)
        taken = interleave(steps, repeats=options.repeats, device=engine.device)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(engine.precision, torch.float32)
        rate, _ = rates(engine.device, dtype=dtype)
        profiled = PROFILED if PROFILED in steps else list(steps)[-1]
        shares = operation_shares(steps[profiled])
    rows = [{"case": label, **over_baseline(taken[label], taken["baseline"])} for label in steps]
    operations = step_operations(options.width, options.size) * options.batch
    floor_ms = 1e3 * operations / rate
    notes = [
        f"baseline: {options.batch / rows[0]['ms'] * 1e3:.0f} images/s; {operations / 1e9:.0f} G operations a step, "
        f"{floor_ms:.3g} ms at the {rate / 1e9:.0f} GFLOP/s of a large matrix product or a convolution in "
        f"{engine.precision} here, whichever is faster: the step takes {rows[0]['ms'] / floor_ms:.2f} times that",
        f"time on the host of a step of {profiled}: "
        + ", ".join(f"{name.removeprefix('aten::')} {share:.1%}" for name, share in shares.items()),
    ]
    keys = ("width", "batch", "size", "precision", "compile", "compile_mode", "contiguous", "only", "repeats")
    return Report("step", {key: getattr(options, key) for key in keys}, rows, notes)


def chosen(options: argparse.Namespace) -> list[str]:
    """Cases asked for; the baseline, which all are compared with, is always among them."""
    return [label for label in CASES if not options.only or label in ("baseline", *options.only)]


def make_steps(engine: Engine, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Function that makes one step, for each case asked for; each has made one already."""
    import torch

    from alignmixup import methods
    from alignmixup.models import PreActResNet18

    torch.manual_seed(0)
    layout = torch.contiguous_format if options.contiguous else torch.channels_last
    x = torch.randn(options.batch, 3, options.size, options.size).to(engine.device, memory_format=layout)
    y = torch.randint(100, (options.batch,)).to(engine.device)
    steps: dict[str, Callable[[], Any]] = {}
    for label in chosen(options):
        name, extra = CASES[label]
        model = engine.place(PreActResNet18(100, width=options.width))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that alignment cancels at stage4 is known and not the question
            mixer = methods.build(name, model=model, num_classes=100, mean=(0.5,), std=(0.25,), options=extra)
            steps[label] = _step(engine, model, mixer, x, y)
            steps[label]()  # looks for layers, and warns
    return steps


def operation_shares(step: Callable[[], Any], *, largest: int = 12) -> dict[str, float]:
    """Share of each operation in the time that the host spends on a step, without what it calls; largest first."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    own = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    total = sum(own.values())
    names = sorted(own, key=lambda name: -own[name])
    return {name: own[name] / total for name in names[:largest]}


def over_baseline(seconds: list[float], baseline: list[float]) -> dict[str, float]:
    """Median milliseconds, and the ratio to the baseline's step of the same round."""
    import statistics

    ratios = [own / other for own, other in zip(seconds, baseline, strict=True)]
    return {
        "ms": 1e3 * statistics.median(seconds),
        "over baseline": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
    }


def step_operations(width: int, size: int) -> float:
    """Operations of a training step for one image: three passes of two operations for each multiply-add."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from alignmixup.models import PreActResNet18

    with FlopCounterMode(display=False) as counter:
        PreActResNet18(100, width=width).eval()(torch.randn(1, 3, size, size))
    return 3.0 * float(counter.get_total_flops())


def _step(engine: Engine, model: nn.Module, mixer: Mixer, x: Tensor, y: Tensor) -> Callable[[], Any]:
    from torch.nn.functional import cross_entropy

    from alignmixup.training.config import OptimizerConfig
    from alignmixup.training.optimizers import build_optimizer

    mixer.prepare(x)
    own = list(mixer.parameters())
    optimizer = build_optimizer(model, OptimizerConfig(name="sgd", lr=0.01), extra_parameters=own)
    wrapped = engine.wrap(model)

    def step() -> None:
        with engine.autocast():
            mixed = mixer(x, y)
        with mixed as batch:
            with engine.autocast():
                logits = wrapped(batch.x)
            engine.backward(batch.loss(logits.float(), cross_entropy))
        engine.update(optimizer, extra_parameters=own)

    return step
