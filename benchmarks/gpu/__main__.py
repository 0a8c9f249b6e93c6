"""``python -m benchmarks.gpu --out DIR``: all stages, each in a process of its own, within a given time."""

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu import page
from benchmarks.gpu.stages import STAGES, run_stage
from benchmarks.gpu.task import Task

ROOT = Path(__file__).parents[2]
# seconds of each stage of a whole report; training gets what the others leave
BUDGETS = {
    "machine": 30,
    "kernel": 70,
    "tests": 90,
    "alignment": 25,
    "steps": 90,
    "loading": 40,
    "training": 160,
    "graph cuts": 30,
}
GRACE = 15  # seconds from the request to stop, in which training saves, to the end
NEEDED = {
    "numpy": "training",
    "PIL": "training",
    "safetensors": "training",
    "pytest": "tests",
    "pytest_timeout": "tests",
}
RIVALS = ("torchvision", "timm", "ot", "geomloss")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    if options.to:
        from benchmarks.gpu.images import pack

        train, test = pack(options.data, options.to, mib=options.mib)
        print(f"{options.to}: {train} training and {test} test images, {options.to.stat().st_size / 2**20:.1f} MiB")
        return 0
    if options.out is None:
        raise SystemExit("say where the report goes: --out DIR")
    if options.stage:
        run_stage(options.stage, _task(options, options.work))
        return 0
    return report(options)


def report(options: argparse.Namespace) -> int:
    """Run the stages one after another; 1 if one of them, or a part of one, did not succeed."""
    begin = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.log").write_text("")
    lacks = lacking(options)
    print("\n".join(f"lacks {one}" for one in lacks) or "lacks nothing", flush=True)
    if not (options.toy or torch.cuda.is_available()):
        return 1
    content: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.gpu", *options.arguments]),
        "lacks": lacks,
        "seconds": 0.0,
        "stages": {},
    }
    chosen = [name for name in STAGES if not options.only or name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(chosen):
            later = sum(_scaled(options, one) for one in chosen[place + 1 :])
            left = 60 * options.minutes - (time.monotonic() - begin) - GRACE
            allowed = min(left, left - later if name == "training" else _scaled(options, name))
            content["stages"][name] = _run(name, options, Path(folder), allowed)
            content["seconds"] = time.monotonic() - begin
            page.write(options.out, content)
            stage = content["stages"][name]
            print(f"{name}: {stage['status']}, {stage['seconds']:.0f} of {allowed:.0f} s", flush=True)
    print((options.out / "gpu.md").read_text(encoding="utf-8"))
    return int(any(not _good(stage) for stage in content["stages"].values()))


def lacking(options: argparse.Namespace) -> list[str]:
    """What is not there, and what that costs."""
    found = [f"{name}, for {use}" for name, use in NEEDED.items() if importlib.util.find_spec(name) is None]
    found += [f"{name}, a rival that is left out" for name in RIVALS if importlib.util.find_spec(name) is None]
    if not torch.cuda.is_available():
        found.append("a GPU that torch sees" + ("" if options.toy else ": add --toy to rehearse on the CPU"))
    if importlib.util.find_spec("triton") is None or not any(map(shutil.which, ("cc", "gcc", "clang"))):
        found.append("Triton, or a C compiler for it: the batched solver serves")
    if not (options.data.is_file() or (options.data / "cifar-100-python").is_dir()):
        found.append(f"CIFAR-100 at {options.data} (a folder with cifar-100-python, or a packed file): no training")
    return found


def _run(name: str, options: argparse.Namespace, work: Path, allowed: float) -> dict[str, Any]:
    begin = time.monotonic()
    stage: dict[str, Any] = {
        "status": "not begun: no time left",
        "seconds": 0.0,
        "allowed": allowed,
        "found": {},
        "error": "",
    }
    if allowed < 1:
        return stage
    forwarded = ["--out", str(options.out), "--data", str(options.data), "--work", str(work), "--stage", name]
    forwarded += ["--toy"] if options.toy else []
    forwarded += ["--resume", str(options.resume)] if options.resume else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", *forwarded, "--seconds", str(allowed)]
    with (options.out / "gpu.log").open("a") as log:
        print(f"\n===== {name}", file=log, flush=True)
        start = log.tell()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        stage["status"] = _wait(process, allowed)
    stage["seconds"] = time.monotonic() - begin
    written = work / f"{name}.json"
    stage["found"] = page.read(written) if written.is_file() else {}
    if stage["status"].startswith("failed"):
        with (options.out / "gpu.log").open(errors="replace") as log:
            log.seek(start)
            stage["error"] = "\n".join(log.read().splitlines()[-25:])
    return stage


def _wait(process: "subprocess.Popen[bytes]", allowed: float) -> str:
    """Until it ends; ask at the end of its time, and end it with all it started if it does not listen."""
    try:
        code = process.wait(allowed)
        return "done" if code == 0 else f"failed with status {code}"
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "stopped at the end of its time"


def _good(stage: dict[str, Any]) -> bool:
    return stage["status"] == "done" and not any(
        isinstance(value, dict) and "failed" in value for value in stage["found"].values()
    )


def _scaled(options: argparse.Namespace, name: str) -> float:
    return BUDGETS[name] * 60 * options.minutes / sum(BUDGETS.values())


def _task(options: argparse.Namespace, work: Path) -> Task:
    return Task(
        device="cpu" if options.toy else "cuda",
        toy=options.toy,
        data=options.data,
        work=work,
        out=options.out,
        resume=options.resume,
        seconds=options.seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the report: gpu.json, gpu.md, gpu.log and checkpoints")
    parser.add_argument("--data", type=Path, default=Path("data"), help="CIFAR-100: its root, or a packed file")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all stages together (default: 9)")
    parser.add_argument("--only", nargs="+", choices=STAGES, metavar="STAGE", help=f"of {', '.join(STAGES)}")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="the folder of an earlier report, to train on from")
    parser.add_argument("--toy", action="store_true", help="rehearse on the CPU, at the smallest sizes")
    parser.add_argument("--to", type=Path, metavar="FILE", help="make no report: pack the images of --data into FILE")
    parser.add_argument("--mib", type=float, default=40.0, help="largest size of that file (default: 40)")
    for name, kind in (("--stage", str), ("--work", Path), ("--seconds", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
