"""A network as a graph in one file, which gives the same logits: of torch.export, or ONNX."""

from __future__ import annotations

import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.files import write_atomically, write_json
from alignmixup.outside import require
from alignmixup.runs.export.facts import facts_of
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.options.export import ExportOptions
from alignmixup.runs.run import Run

INSIDE = "preprocessing.json"  # name of the facts in the file
Logits = Callable[[Tensor], Tensor]


class DifferentError(ValueError):
    """The exported graph gives other logits than the network; nothing was written."""


def export(run: Run, out: str | Path, **options: Any) -> dict[str, Any]:
    """Write a network as a graph, in float32 and for any number of images, once its logits are checked.

    Args:
        run: the network.
        out: file that ends in .pt2 or .onnx; what must be known to use it goes into it, and beside it as ``OUT.json``.
        options: those of `ExportOptions`.

    Returns:
        What the JSON file holds: the facts, and under "check" how far the logits of noise and of test images are
        from the network's.

    Raises:
        DifferentError: they are too far; no file is written.
        ValueError: the network cannot be written as such a graph.
        ImportError: ONNX needs the extra ``export``.
    """
    asked, out = ExportOptions(**options), Path(out)
    write = {"pt2": _as_pt2, "onnx": _as_onnx}[asked.kind(out)]
    if write is _as_onnx:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            require(package, extra="export")
    beside = out.with_name(f"{out.name}.json")
    for file in (out, beside):
        RunFolder(out.parent).check_output(file)
    run = replace(run, config=replace(run.config, train=replace(run.config.train, device="cpu")))
    facts = facts_of(run)
    model = run.network(run.data).eval()
    images = {"images of noise": _noise(facts, asked.images), "test images": _test_images(run, asked.images)}
    with _quiet():
        content, logits = write(model, images["images of noise"][:2], json.dumps(facts))
    facts["check"] = {name: compare(model, logits, x) for name, x in images.items()}
    _refuse_different(facts["check"], asked.tolerance, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: file.write(content))
    write_json(beside, facts)
    return facts


@torch.no_grad()
def compare(model: nn.Module, logits: Logits, x: Tensor) -> dict[str, Any]:
    """How far ``logits`` are from the model's on ``x (N, C, H, W)``, in batches of 1, 2 and as many as are left."""
    expected, found = (torch.cat([give(part) for part in x.tensor_split([1, 3])]) for give in (model, logits))
    return {
        "images": len(x),
        "largest_difference": _largest(found - expected),
        "largest_logit": _largest(expected),
        "other_class": int((found.argmax(1) != expected.argmax(1)).sum()),
    }


def _largest(values: Tensor) -> float | None:
    """None where one is not finite: JSON knows no NaN."""
    largest = values.abs().max().item()
    return largest if math.isfinite(largest) else None


def _refuse_different(checks: dict[str, dict[str, Any]], tolerance: float, out: Path) -> None:
    for name, found in checks.items():
        difference, largest = found["largest_difference"], found["largest_logit"]
        if difference is None or largest is None:
            raise DifferentError(f"{out} is not written: of {found['images']} {name} some logits are not finite")
        if difference > tolerance * max(1, largest):
            raise DifferentError(
                f"{out} is not written: on {found['images']} {name} its logits differ from the network's by up to "
                f"{difference:.3g}, the largest being {largest:.3g}, and {found['other_class']} are given another "
                f"class; --tolerance {tolerance:g} allows {tolerance * max(1, largest):.3g}"
            )


def _noise(facts: dict[str, Any], count: int) -> Tensor:
    return torch.randn(count, *facts["input"]["shape"][1:], generator=torch.Generator().manual_seed(0))


def _test_images(run: Run, count: int) -> Tensor:
    total = len(run.data.test)
    return run.images([number * total // min(count, total) for number in range(min(count, total))])[0]


def _graph(model: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    try:
        batch = torch.export.Dim("batch", min=1, max=2**31 - 1)  # torch 2.6 wants an end
        with torch.no_grad():
            return torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    except Exception as error:  # what torch cannot trace raises anything
        raise ValueError(
            f"this network cannot be written as a graph for any number of images: {str(error).strip().splitlines()[0]}"
        ) from error


def _as_pt2(model: nn.Module, x: Tensor, facts: str) -> tuple[bytes, Logits]:
    file = io.BytesIO()
    torch.export.save(_graph(model, x), file, extra_files={INSIDE: facts})
    read = torch.export.load(io.BytesIO(file.getvalue())).module()
    return file.getvalue(), read


def _as_onnx(model: nn.Module, x: Tensor, facts: str) -> tuple[bytes, Logits]:
    onnx, onnxruntime = require("onnx", extra="export"), require("onnxruntime", extra="export")
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    graph = _graph(model, x)
    try:
        program = torch.onnx.export(graph, (x,), dynamo=True, external_data=False, verbose=False, **names)
        assert program is not None
        proto = program.model_proto
        onnx.helper.set_model_props(proto, {INSIDE: facts})
        content = proto.SerializeToString()
    except Exception as error:  # an operator that ONNX has not, or this torch cannot write, or more than ONNX's 2 GiB
        reason = shorten(str(error.__cause__ or error).strip().splitlines()[0], 200)
        raise ValueError(
            f"torch {torch.__version__} cannot write this network as ONNX; end --out in .pt2, or use a newer torch: "
            f"{reason}"
        ) from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """What exporters print about themselves helps nobody; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
