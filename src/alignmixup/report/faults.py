"""What is wrong with records that somebody wants to send in: one line a fault."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignmixup import methods
from alignmixup.near import near
from alignmixup.records import each_record
from alignmixup.report.collect import Run
from alignmixup.report.reproduce import config_hash
from alignmixup.report.rows import KEY

_LONGEST = 30_000  # letters of a line
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_PLACE = re.compile(r"^(/|~|[A-Za-z]:[\\/])|/(home|Users|tmp|root|mnt)/")  # a path of somebody's machine
_ROUNDED = 1e-3  # numbers of the curve have six digits


def faults(file: Path) -> list[str]:
    """Look at a file of records, one run a line, and say all that is wrong with it; nothing if it can be sent in.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no file, or an empty one.
    """
    found: list[str] = []
    hashes: dict[tuple[str, str], str] = {}
    curves: dict[str, tuple[str, int]] = {}
    for place, record in each_record(file):
        if isinstance(record, ValueError):
            found.append(str(record))
            continue
        found += [f"{place}: {text}" for text in _of_record(record)]
        numbers = json.dumps([[row["train_loss"], row.get("error_percent")] for row in record["curve"]])
        source, seed = curves.setdefault(numbers, (place, record["seed"]))
        if seed != record["seed"]:
            found.append(f"{place}: the curve is that of {source}, whose seed is {seed}: give each seed its own run")
        run = Run(label=record["label"], record=record, path=file)
        own = config_hash(run)
        first = hashes.setdefault((run.data, run.label), own)
        if own != first:
            found.append(
                f"{place}: {run.label} has the configuration {own} here and {first} in another seed: give rows of "
                "different configurations different labels"
            )
    return found


def _of_record(record: Mapping[str, Any]) -> Iterator[str]:
    config, metrics = record["config"], record["metrics"]
    method = config["method"]["name"]
    if ":" not in method and method not in methods.available():
        yield f"method.name {method!r} is unknown; {near(method, methods.available())}"
    if (seed := config.get("train", {}).get("seed")) != record["seed"]:
        yield f"seed is {record['seed']} and train.seed {seed}"
    if record.get("finished") is not True:
        yield "the run is not finished"
    if not _COMMIT.fullmatch(str(record.get("revision", {}).get("commit"))):
        yield "revision.commit names no commit: run from a checkout, or an installed version that says it"
    if not record.get("environment", {}).get("packages", {}).get("torch"):
        yield "environment.packages does not say the version of torch"
    if not metrics["seconds"] > 0:
        yield f"seconds is {metrics['seconds']}"
    if not metrics["images_per_second"] > 0:
        yield f"images_per_second is {metrics['images_per_second']}"
    yield from _of_curve(record["curve"], metrics, config.get("train", {}).get("epochs"))
    if found := next(_places(record, ""), ""):
        yield f"{found}: store it with `alignmixup report RUNS --records DIR`, which leaves paths out"
    if (length := len(json.dumps(record))) >= _LONGEST:
        yield f"the line has {length} letters, {_LONGEST} at most: `alignmixup report RUNS --records DIR` shortens it"


def _of_curve(curve: list[dict[str, Any]], metrics: Mapping[str, Any], epochs: int | None) -> Iterator[str]:
    """The numbers of a row must be those of its curve."""
    last = curve[-1]["epoch"] + 1
    if not last == metrics["epochs"] == epochs:
        yield f"the curve has {last} epochs, metrics.epochs says {metrics['epochs']} and train.epochs {epochs}"
    errors = [row["error_percent"] for row in curve if "error_percent" in row]
    if not all(0 <= error <= 100 for error in errors):
        yield "the curve has errors outside 0 to 100 %"
    tail = [row["error_percent"] for row in curve if row["epoch"] >= last - 10 and "error_percent" in row]
    expected = {"best_error_percent": min(errors), "last_error_percent": errors[-1]}
    expected |= {KEY: sum(tail) / len(tail)} if tail else {}
    for key, value in expected.items():
        if not math.isclose(metrics[key], value, rel_tol=_ROUNDED, abs_tol=_ROUNDED):
            yield f"metrics.{key} is {metrics[key]:.4f}, and the curve makes it {value:.4f}"


def _places(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, f"{name}[{number}]")
    elif isinstance(value, str) and _PLACE.search(value):
        yield f"{name} is a path of your machine, {value[:60]!r}"
