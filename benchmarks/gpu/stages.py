"""The stages, in the order of their worth. Each writes what it finds at once; a part that fails leaves the rest."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any
from xml.etree import ElementTree

import torch
from benchmarks.gpu import training
from benchmarks.gpu.task import Findings, Task

from alignmixup.benchmarks import alignment, loading, step
from alignmixup.benchmarks.measure import interleave, rates, synchronize
from alignmixup.functional import cost_matrix
from alignmixup.functional.transport.solvers import solve_newton
from alignmixup.runs.record import environment, source_revision
from alignmixup.training.config import TrainConfig
from alignmixup.training.engine import Engine

GRAPH_CUTS = ("puzzlemix", "comixup")
SHAPES = ((16, 16), (25, 25), (49, 49), (64, 64), (32, 128), (64, 128), (128, 128))  # the last two spill registers
TESTS = ("tests/functional/transport/test_cuda.py", "tests/integration/test_gpu.py")


def run_stage(name: str, task: Task) -> None:
    STAGES[name](task, Findings(task.work / f"{name}.json"))


def machine(task: Task, findings: Findings) -> None:
    device = torch.device(task.device)
    findings.put("environment", {key: str(value) for key, value in environment(device).items()})
    findings.put("revision", {key: str(value) for key, value in source_revision().items()})
    findings.put("memory GiB", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    findings.put("system", platform.platform())
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        findings.put("GPU", {key: str(getattr(properties, key)) for key in dir(properties) if key[0] != "_"})
        findings.part("driver", lambda: subprocess.check_output(["nvidia-smi"], text=True, timeout=10))
    for dtype in (torch.float32, torch.bfloat16):
        findings.part(f"rates in {dtype}", lambda dtype=dtype: _rates(device, dtype))


def _rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    operations, moved = rates(device, dtype=dtype)
    return {"TFLOP/s, product or convolution": operations / 1e12, "GB/s, copy": moved / 1e9}


def kernel(task: Task, findings: Findings) -> None:
    findings.part("cost at |a|^2 = 1e6, largest error", lambda: _cost_error(task))
    rows: list[Any] = []
    for shape in SHAPES[:2] if task.toy else SHAPES:
        findings.part(f"{shape[0]} x {shape[1]}", lambda shape=shape: rows.append(_solved(task, *shape)) or rows[-1])


def _cost_error(task: Task) -> float:
    generator = torch.Generator().manual_seed(0)
    group = 1e6**0.5 / 8 * torch.tensor([1.0, -1.0]).repeat(8)
    a, b = (0.1 * torch.randn(8, 64, 16, generator=generator) + group for _ in range(2))
    brute = (a.double()[:, :, :, None] - b.double()[:, :, None, :]).square().sum(1)
    near = brute < 1e3  # where epsilon decides
    cost = cost_matrix(a.to(task.device), b.to(task.device)).cpu()
    return (cost - brute).abs()[near].max().item()


def _solved(task: Task, r: int, s: int) -> dict[str, Any]:
    """The kernel and the batched solver: against float64, and against the clock."""
    from alignmixup.functional.transport import cuda

    batch, samples = (4, 2) if task.toy else (128, 4)
    generator = torch.Generator().manual_seed(r * s)
    a, b = (torch.randn(batch, 512, positions, generator=generator).to(task.device) for positions in (r, s))
    cost = cost_matrix(a, b)
    options = (0.1, 100, 1e-5)
    begin = time.perf_counter()
    plan, rounds = cuda.solve_newton_fused(cost, *options)
    synchronize(task.device)
    compiling = time.perf_counter() - begin
    batched, batched_rounds = solve_newton(cost, *options)
    exact, _ = solve_newton(cost[:samples].double().cpu(), 0.1, 100, 1e-9)
    taken = interleave(
        {"kernel": lambda: cuda.solve_newton_fused(cost, *options), "batched": lambda: solve_newton(cost, *options)},
        repeats=2 if task.toy else 10,
        device=task.device,
    )
    ours, other = (1e3 * sorted(taken[name])[len(taken[name]) // 2] for name in ("kernel", "batched"))
    return {
        "served by": "the batched solver: see the log" if cuda._failed else "the kernel",
        "taken by default": cuda.fused_fits(cost),
        "first call s": compiling,
        "largest error of R, kernel": ((plan[:samples].cpu() - exact).abs().max() * r).item(),
        "largest error of R, batched": ((batched[:samples].cpu() - exact).abs().max() * r).item(),
        "samples that took other rounds": int((rounds != batched_rounds).sum()),
        "kernel ms": ours,
        "batched ms": other,
        "kernel is faster": other / ours,
    }


def tests(task: Task, findings: Findings) -> None:
    """The GPU's own tests; in a rehearsal a few that need none."""
    chosen = ["tests/benchmarks/test_report.py", "-m", "not gpu"] if task.toy else [*TESTS, "-m", "gpu"]
    result = task.work / "tests.xml"
    settings = ["-o", "addopts=", "-o", "filterwarnings=default", "--import-mode=importlib", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *settings, f"--junitxml={result}", "--timeout=60", *chosen]
    try:
        code = subprocess.run(command, check=False, timeout=max(task.seconds - 5, 5)).returncode
    except subprocess.TimeoutExpired:
        findings.put("in time", {"failed": "the tests were stopped at the end of their time: see the log"})
        return
    suite = next(ElementTree.parse(result).getroot().iter("testsuite")).attrib
    findings.put("counts", {key: int(suite[key]) for key in ("tests", "failures", "errors", "skipped")})
    failed = [
        f"{case.get('classname')}::{case.get('name')}: {(case.find(kind).get('message') or '')[:300]}"
        for case in ElementTree.parse(result).getroot().iter("testcase")
        for kind in ("failure", "error")
        if case.find(kind) is not None
    ]
    if failed or code:
        findings.put("tests", {"failed": "\n".join(failed) or f"pytest ended with status {code}: see the log"})


def aligning(task: Task, findings: Findings) -> None:
    for shape in ("8x16x4x4",) if task.toy else alignment.SHAPES:
        given = {"shapes": [shape], "scale": 1.0, "only": ["align_mix"]}
        findings.part(shape, lambda given=given: _rows(task, alignment, repeats=5, **given))


def steps(task: Task, findings: Findings) -> None:
    """Eager, compiled, CUDA graphs, bf16; and how often a step waits for the device."""
    names = [label for label in step.CASES if not label.startswith(GRAPH_CUTS)]
    few = ["baseline", step.PROFILED]
    for title, only, settings in (
        ("bf16", names, {"precision": "bf16"}),
        ("fp32", names, {"precision": "fp32"}),
        ("bf16, compiled", few, {"precision": "bf16", "compile": True}),
        ("bf16, CUDA graphs", few, {"precision": "bf16", "compile": True, "compile_mode": "reduce-overhead"}),
    ):
        if task.toy and settings.get("compile"):
            continue
        findings.part(title, lambda only=only, settings=settings: _step(task, only, **settings))
        if title == "fp32" and not task.toy:
            findings.part("waits in one step", lambda: _waits(task, list(step.CASES)))


def graph_cuts(task: Task, findings: Findings) -> None:
    findings.part("steps, fp32", lambda: _step(task, ["baseline", *GRAPH_CUTS], precision="fp32"))
    findings.part("steps, bf16", lambda: _step(task, ["baseline", *GRAPH_CUTS], precision="bf16"))


def load(task: Task, findings: Findings) -> None:
    size = {"images": 64, "batch": 8, "width": 4} if task.toy else {"images": 10240, "batch": 128, "width": 64}
    findings.part("images/s", lambda: _rows(task, loading, repeats=1 if task.toy else 2, workers=2, **size))


def _step_options(task: Task, only: list[str], **settings: Any) -> argparse.Namespace:
    size = {"width": 4, "batch": 4, "size": 16} if task.toy else {"width": 64, "batch": 128, "size": 32}
    usual = {
        "transformer": "",
        "precision": "fp32",
        "compile": False,
        "compile_mode": "default",
        "contiguous": False,
        "repeats": 5,
    }
    return argparse.Namespace(**{**size, **usual, **settings, "only": only, "device": task.device})


def _step(task: Task, only: list[str], **settings: Any) -> list[dict[str, Any]]:
    found = step.run(_step_options(task, only, **settings))
    print("\n".join(found.notes), flush=True)
    size = 4 if task.toy else 128
    return [{**row, "images/s": 1e3 * size / row["ms"]} for row in found.rows] + [{"case": found.notes[0]}]


def _waits(task: Task, only: list[str]) -> dict[str, int]:
    """Synchronising calls of one step of each case, after a few that may look for layers and kernels."""
    counts = {}
    options = _step_options(task, only)
    with closing(Engine(TrainConfig(device=task.device, channels_last=True))) as engine:
        for label, run in step.make_steps(engine, options).items():
            for _ in range(3):
                run()
            torch.cuda.set_sync_debug_mode("warn")
            try:
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    run()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            counts[label] = sum("synchroniz" in str(warning.message) for warning in seen)
    return counts


def _rows(task: Task, question: Any, **settings: Any) -> list[dict[str, Any]]:
    found = question.run(argparse.Namespace(**settings, device=task.device))
    print("\n".join(found.notes), flush=True)
    rows: list[dict[str, Any]] = found.rows
    return rows


def train(task: Task, findings: Findings) -> None:
    shutil.rmtree(task.work / "training", ignore_errors=True)
    training.train(task, findings)


STAGES: dict[str, Callable[[Task, Findings], None]] = {
    "machine": machine,
    "kernel": kernel,
    "tests": tests,
    "alignment": aligning,
    "steps": steps,
    "loading": load,
    "training": train,
    "graph cuts": graph_cuts,
}
