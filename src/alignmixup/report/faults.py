"""What is wrong with records that somebody wants to send in: one line a fault.

What is published must be what was measured: a configuration that this version trains, a curve that is whole, numbers
that follow from it, and all that is needed to make it again. Nothing that a record names is imported.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from alignmixup import data, methods, models
from alignmixup.data.transforms.augment import preset
from alignmixup.near import near
from alignmixup.options import Option
from alignmixup.outside import is_outside
from alignmixup.records import each_record, last_ten
from alignmixup.report.collect import Run
from alignmixup.report.reproduce import config_hash
from alignmixup.report.rows import KEY
from alignmixup.runs.record import best_chosen_on
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, from_dict
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, same

_LONGEST = 50_000  # letters of a line, with a long curve and an evaluation
_LONGEST_LABEL = 200
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACE = re.compile(r"^(/|~|[A-Za-z]:[\\/])|/(home|Users|tmp|root|mnt)/")  # a path of somebody's machine
_STEERING = frozenset("`<>|[]*\\")  # what Markdown and HTML read as more than a letter
_WORD = re.compile(r"\w+")
_WIDEST, _DEEPEST = 10_000, 100  # channels, and layers of a block
_ROUNDED = 1e-3  # numbers of the curve have six digits

_PERCENT = Option(name="", type=float, minimum=0, maximum=100)
_POSITIVE = Option(name="", type=float, above=0)
_AT_LEAST_0 = Option(name="", type=float, minimum=0)
_WHOLE = Option(name="", type=int, minimum=1)
_RANGES = {  # of the metrics, of an epoch of the curve, and of an evaluation
    "best_error_percent": _PERCENT,
    "last_error_percent": _PERCENT,
    KEY: _PERCENT,
    "last_top5_error_percent": _PERCENT,
    "error_percent": _PERCENT,
    "last_cross_entropy": _AT_LEAST_0,
    "cross_entropy": _AT_LEAST_0,
    "best_epoch": _AT_LEAST_0,
    "seconds": _POSITIVE,
    "train_seconds": _POSITIVE,
    "images_per_second": _POSITIVE,
    "parameters": _WHOLE,
    **dict.fromkeys(("ece_percent", "overconfidence_percent", "mean_confidence_percent"), _PERCENT),
    **dict.fromkeys(("top5_error_percent", "mean_error_percent", "clean_error_percent"), _PERCENT),
}
_MEASURED = ("calibration", "corruptions")


def faults(file: Path) -> list[str]:
    """Look at a file of records, one run a line, and say all that is wrong with it; nothing if it can be sent in.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no file, or an empty one.
    """
    found: list[str] = []
    rows: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    curves: dict[str, tuple[str, str]] = {}
    for place, record in each_record(file):
        if isinstance(record, ValueError):
            found.append(str(record))
            continue
        found += [f"{place}: {text}" for text in _of_record(record)]
        run = Run(label=record["label"], record=record, path=file)
        own = config_hash(run)
        made_by = f"seed {record['seed']} and the configuration {own}"
        numbers = json.dumps([[row["train_loss"], row.get("error_percent")] for row in record["curve"]])
        source, other = curves.setdefault(numbers, (place, made_by))
        if other != made_by:
            found.append(f"{place}: the curve is that of {source}, of {other}: this one is of {made_by}; run each")
        first, config = rows.setdefault((run.data, run.label), (own, record["config"]))
        if not same(config, record["config"], but=(*OF_ONE_ROW, IMAGES)):
            found.append(
                f"{place}: {run.label} has the configuration {own} here and {first} in another seed: give rows of "
                "different configurations different labels"
            )
    return found


def _of_record(record: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_label(record["label"], record["config"]["method"]["name"])
    yield from _of_origin(record)
    yield from _out_of_range(record)
    if found := next(_places(record, ""), ""):
        yield f"{found}: store it with `alignmixup report RUNS --records DIR`, which leaves paths out"
    if (length := len(json.dumps(record))) >= _LONGEST:
        yield f"the line has {length} letters, {_LONGEST} at most: `alignmixup report RUNS --records DIR` shortens it"
    yield from _of_names(record["config"])
    try:
        config = from_dict(record["config"], source="config")
    except ConfigError as error:
        yield str(error)
        return  # what follows reads it
    yield from _of_config(config)
    yield from _of_run(record, config)
    yield from _of_curve(record["curve"], record["metrics"], config)


def _of_label(label: str, method: str) -> Iterator[str]:
    """What a row is called is published: it must be readable, and name no other method."""
    if not label.strip() or _steers(label) or len(label) > _LONGEST_LABEL:
        yield f"label is {label[:60]!r}: expected letters, digits and simple signs, {_LONGEST_LABEL} at most"
    own = method.rpartition(":")[2]
    named = set(_WORD.findall(label.casefold())) & {*methods.available(), own.casefold()}
    if named and own.casefold() not in named and (is_outside(method) or own in methods.available()):
        yield f"label is {label[:60]!r} and method.name {method[:60]!r}: name the row after its method"


def _of_origin(record: Mapping[str, Any]) -> Iterator[str]:
    """Who makes it again needs the code, the versions and the day."""
    revision = record.get("revision", {})
    if not _COMMIT.fullmatch(str(revision.get("commit"))):
        yield "revision.commit names no commit: run from a checkout, or an installed version that says it"
    if not isinstance(revision.get("dirty"), bool):
        yield f"revision.dirty is {_shown(revision.get('dirty'))}: expected whether files differed from the commit"
    if not record.get("environment", {}).get("packages", {}).get("torch"):
        yield "environment.packages does not say the version of torch"
    if not _is_day(day := record.get("date")):
        yield f"date is {_shown(day)}: expected the day on which it ended, as 2026-01-31"
    elif str(day) > (today := datetime.now(UTC).date().isoformat()):
        yield f"date is {day}, after today, {today}: expected the day on which it ended"
    weights = record.get("weights_sha256", {}).values()
    if not all(map(_SHA256.fullmatch, weights)):
        yield "weights_sha256 holds what is no SHA-256"
    measured = record.get("evaluation", {}).get("settings", {}).get("weights_sha256")
    if measured and weights and measured not in weights:
        yield "evaluation is of other weights than those of weights_sha256: evaluate the run again"


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _out_of_range(record: Mapping[str, Any]) -> Iterator[str]:
    rows = {"metrics": record["metrics"]}
    rows |= {f"curve[{number}]": row for number, row in enumerate(record["curve"])}
    measured = record.get("evaluation", {})
    rows |= {"evaluation": measured, **{f"evaluation.{part}": measured.get(part, {}) for part in _MEASURED}}
    for place, row in rows.items():
        for name in [name for name in _RANGES if name in row and not isinstance(row[name], Mapping)]:
            try:
                _RANGES[name].check(row[name], f"{place}.{name}")
            except (ValueError, TypeError) as error:
                yield str(error)


def _of_names(config: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names stand in headings and commands."""
    if (name := config["data"]["name"]) not in data.available():
        yield f"data.name {name[:60]!r} is unknown; {near(name, data.available())}"
    for table, values in config.items():
        for key, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, str) and _steers(value):
                yield f"config.{table}.{key} is {value[:60]!r}, with signs that steer a page or a terminal"


def _of_config(config: Config) -> Iterator[str]:
    """What the loader of configurations leaves to the parts that are named, as far as it can be told without them."""
    geometry, plus, policy = config.data.augment.partition("+")
    checks: dict[str, Callable[[], object]] = {
        "data.augment": partial(preset, ("none" if geometry == "default" else geometry) + plus + policy)
    }
    if not is_outside(config.model.name):
        checks["model"] = partial(_check_network, config.model.name, config.model.options)
    if not is_outside(config.method.name):
        checks["method"] = partial(methods.check_options, config.method.name, config.method.options)
    for place, check in checks.items():
        try:
            check()
        except (ValueError, TypeError) as error:
            yield f"config.{place}: {error}"


def _check_network(name: str, options: Mapping[str, Any]) -> None:
    """Check options one by one, and those of a network of this package by building it, without weights."""
    models.check_options(name, options)
    if ":" in name:
        return
    for key, value in options.items():  # of what is sent in nothing is built for long
        numbers, most = (value, _DEEPEST) if isinstance(value, list | tuple) else ([value], _WIDEST)
        if found := [number for number in numbers if isinstance(number, int) and number > most]:
            raise ValueError(f"{key} is {found[0]}, more than the {most} that a network here may have")
    _build(name, json.dumps(models.without_start(name, options), sort_keys=True))


@cache
def _build(name: str, options: str) -> None:
    with torch.device("meta"):
        models.build(name, num_classes=10, options=json.loads(options))


def _of_run(record: Mapping[str, Any], config: Config) -> Iterator[str]:
    """What the record says of the run must be what the configuration says."""
    if config.train.seed != record["seed"]:
        yield f"seed is {record['seed']} and train.seed {config.train.seed}"
    if record.get("finished") is not True:
        yield "the run is not finished"
    processes, told = record.get("environment", {}).get("processes"), record.get("effective_batch_size")
    if type(processes) is not int or processes < 1:
        yield f"environment.processes is {_shown(processes)}: expected how many there were"
    elif found := _wrong_batch(told, config.train.batch_size * config.train.accumulation, processes):
        yield f"effective_batch_size is {_shown(told)}, {found}"
    expected = best_chosen_on(record["config"])
    if (chosen := record.get("best_chosen_on", expected)) != expected:
        yield f"best_chosen_on is {_shown(chosen)}, and the configuration chose on {expected}"


def _wrong_batch(told: Any, images: int, processes: int) -> str:
    """What is wrong with the images of an update, of which one process gives ``images``; empty if nothing is.

    A run keeps those of the processes it began with; the processes of a record are those that ended it.
    """
    if type(told) is not int or told < 1 or told % images:
        return f"and train.batch_size x train.accumulation, of any number of processes, makes it a multiple of {images}"
    return f"which {processes} processes cannot share evenly" if told % processes else ""


def _of_curve(curve: list[dict[str, Any]], metrics: Mapping[str, Any], config: Config) -> Iterator[str]:
    """The curve must be whole, and the numbers of a row must be those of its curve."""
    epochs, every = config.train.epochs, config.evaluation.every
    last = curve[-1]["epoch"] + 1
    if not last == metrics["epochs"] == epochs:
        yield f"the curve has {last} epochs, metrics.epochs says {metrics['epochs']} and train.epochs {epochs}"
        return
    if len(curve) != epochs:
        yield f"the curve has {len(curve)} of {epochs} epochs: expected each one"
        return
    errors = {row["epoch"]: row["error_percent"] for row in curve if "error_percent" in row}
    due = [epoch for epoch in range(epochs) if (epoch + 1) % every == 0 or epoch + 1 == epochs]
    if missing := [epoch for epoch in due if epoch not in errors]:
        yield f"the curve has no error of epoch {missing[0]}, which evaluation.every = {every} tests"
        return
    best = min(errors.values())
    expected = {"best_error_percent": best, "last_error_percent": errors[epochs - 1], KEY: fmean(last_ten(curve))}
    expected |= {"last_cross_entropy": curve[-1].get("cross_entropy", metrics["last_cross_entropy"])}
    for key, value in expected.items():
        if not _same(metrics[key], value):
            yield f"metrics.{key} is {metrics[key]:.4f}, and the curve makes it {value:.4f}"
    if not _same(errors.get(metrics.get("best_epoch", -1), -1.0), best):
        yield f"metrics.best_epoch is {_shown(metrics.get('best_epoch'))}, and the curve has its best elsewhere"
    for part, whole in (("train_seconds", "seconds"), ("last_top5_error_percent", "last_error_percent")):
        if metrics.get(part, 0) > metrics[whole] + _ROUNDED:
            yield f"metrics.{part} is {metrics[part]:g}, more than {whole}, {metrics[whole]:g}"


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_ROUNDED, abs_tol=_ROUNDED)


def _steers(text: str) -> bool:
    """Whether a text has signs that a terminal or a page reads as something else."""
    return not text.isprintable() or not _STEERING.isdisjoint(text)


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _places(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, f"{name}[{number}]")
    elif isinstance(value, str) and _PLACE.search(value):
        yield f"{name} is a path of your machine, {value[:60]!r}"
