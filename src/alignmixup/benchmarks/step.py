"""A whole training step with each method over the same step without mixing."""

import argparse
import statistics
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from alignmixup import methods, models
from alignmixup.benchmarks.measure import interleave, rates
from alignmixup.benchmarks.options import CASES, TRANSFORMER_CASES
from alignmixup.benchmarks.report import Report
from alignmixup.methods import Mixer
from alignmixup.models import PreActResNet18
from alignmixup.near import near
from alignmixup.training.config import OptimizerConfig, TrainConfig
from alignmixup.training.engine import Engine
from alignmixup.training.optimization.optimizers import build_optimizer

PROFILED = "alignmixup, every batch at stage4"
WIDTH = 64


def run(options: argparse.Namespace) -> Report:
    """Time every case."""
    check(options)
    if options.width is None and not options.transformer:
        options.width = WIDTH
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
    operations = step_operations(_network(options), options.size) * options.batch
    floor_ms = 1e3 * operations / rate
    notes = [
        f"baseline: {options.batch / rows[0]['ms'] * 1e3:.0f} images/s; {operations / 1e9:.0f} G operations a step, "
        f"{floor_ms:.3g} ms at the {rate / 1e9:.0f} GFLOP/s of a large matrix product or a convolution in "
        f"{engine.precision} here, whichever is faster: the step takes {rows[0]['ms'] / floor_ms:.2f} times that",
        f"time on the host of a step of {profiled}: "
        + ", ".join(f"{name.removeprefix('aten::')} {share:.1%}" for name, share in shares.items()),
    ]
    keys = (
        "width",
        "transformer",
        "batch",
        "size",
        "precision",
        "compile",
        "compile_mode",
        "contiguous",
        "only",
        "repeats",
    )
    return Report("step", {key: getattr(options, key) for key in keys}, rows, notes)


def check(options: argparse.Namespace) -> None:
    """Refuse values out of range, and options that do not go together (ValueError)."""
    if options.batch < 1 or options.size < 8:
        raise ValueError(f"--batch must be >= 1 and --size >= 8, got {options.batch} and {options.size}")
    if options.compile_mode != "default" and not options.compile:
        raise ValueError(f"--compile-mode {options.compile_mode} goes with --compile")
    if options.transformer and options.width is not None:
        raise ValueError(f"--width {options.width} is of PreActResNet-18, and --transformer takes another network")
    for label in options.only or ():
        if label not in _cases(options):
            raise ValueError(f"--only: {label} is no case of this network; {near(label, _cases(options))}")


def _cases(options: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    return TRANSFORMER_CASES if options.transformer else CASES


def chosen(options: argparse.Namespace) -> list[str]:
    """Cases asked for; the baseline, which all are compared with, is always among them."""
    return [label for label in _cases(options) if not options.only or label in ("baseline", *options.only)]


def _network(options: argparse.Namespace) -> nn.Module:
    if options.transformer:
        return models.build(options.transformer, num_classes=100, options={"image_size": options.size})
    return PreActResNet18(100, width=options.width)


def make_steps(engine: Engine, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Function that makes one step, for each case asked for; each has made one already."""
    torch.manual_seed(0)
    layout = torch.contiguous_format if options.contiguous else torch.channels_last
    x = torch.randn(options.batch, 3, options.size, options.size).to(engine.device, memory_format=layout)
    y = torch.randint(100, (options.batch,)).to(engine.device)
    steps: dict[str, Callable[[], Any]] = {}
    for label in chosen(options):
        name, extra = _cases(options)[label]
        model = engine.place(_network(options))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that alignment cancels at stage4 is known and not the question
            mixer = methods.build(name, model=model, num_classes=100, mean=(0.5,), std=(0.25,), options=extra)
            steps[label] = _step(engine, model, mixer, x, y)
            steps[label]()  # looks for layers, and warns
    return steps


def operation_shares(step: Callable[[], Any]) -> dict[str, float]:
    """Share of the twelve largest operations in the host's time for a step, without what they call; largest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    own = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    total = sum(own.values())
    names = sorted(own, key=lambda name: -own[name])
    return {name: own[name] / total for name in names[:12]}


def over_baseline(seconds: list[float], baseline: list[float]) -> dict[str, float]:
    """Median milliseconds, and the ratio to the baseline's step of the same round."""
    ratios = [own / other for own, other in zip(seconds, baseline, strict=True)]
    return {
        "ms": 1e3 * statistics.median(seconds),
        "over baseline": statistics.median(ratios),
        "min": min(ratios),
        "max": max(ratios),
    }


def step_operations(network: nn.Module, size: int) -> float:
    """Operations of a training step for one image: three passes of two operations for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.randn(1, 3, size, size))
    return 3.0 * float(counter.get_total_flops())


def _step(engine: Engine, model: nn.Module, mixer: Mixer, x: Tensor, y: Tensor) -> Callable[[], Any]:
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
