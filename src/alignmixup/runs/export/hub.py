"""A folder that a model hub takes as it is: weights, configuration, and a card that says what they are."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignmixup import methods
from alignmixup.evaluation.summary import spread
from alignmixup.files import write_atomically, write_json, write_text
from alignmixup.outside import is_outside, require
from alignmixup.records import EVALUATION_FILE, read_evaluation, read_record, write_sealed
from alignmixup.runs.export.facts import facts_of, test_view
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.loading import load
from alignmixup.runs.options.export import HubOptions
from alignmixup.runs.record import portable
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import configuration_of
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import ConfigError, dump, from_dict

_LOADED_ANYWAY = ("pretrained", "weights")  # options of networks whose effect the weights replace
_SOURCE = re.compile(r"^Source:\n((?:    .*\n?)+)", re.MULTILINE)


def write_hub_folder(run: Run, folder: str | Path, **options: Any) -> list[str]:
    """Fill a folder with ``model.safetensors``, ``config.json``, ``config.toml``, ``record.json`` and ``README.md``.

    It loads as a run too. No path of this machine is in it, and nothing is uploaded.

    Args:
        run: a finished run.
        folder: new or empty, unless ``overwrite``.
        options: those of `HubOptions`.

    Returns:
        The names of the files.

    Raises:
        ConfigError: no finished run, or a folder that is not to be written.
    """
    asked, folder = HubOptions(**options), Path(folder)
    if run.folder is None or run.record is None or run.weights is None:
        raise ConfigError(f"--hub-folder needs a finished run, whose record tells of its results; {run.name} has none")
    if folder.exists() and folder.resolve() == run.folder.path.resolve():
        raise ConfigError(f"--hub-folder {folder} is the run itself: name another folder")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--hub-folder {folder} is a file: name a folder")
    if folder.is_dir() and os.listdir(folder) and not asked.overwrite:
        raise ConfigError(f"--hub-folder {folder} is not empty: name another, or write into it with --overwrite")
    facts, content = facts_of(run), run.weights.read_bytes()
    config = from_dict(portable(to_dict(run.config)), source=run.name)
    record = {
        **run.record,
        "config": to_dict(config),
        "weights_sha256": {RunFolder(folder).weights.name: hashlib.sha256(content).hexdigest()},
        "weights": facts["weights"],
    }
    name = asked.name or f"{run.data.name}-{run.method}-{run.config.model.name.rpartition(':')[2]}"
    texts = {"README.md": model_card(run, facts, name=name, license=asked.license), "config.toml": dump(config)}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(RunFolder(folder).weights, lambda file: file.write(content))
    write_json(folder / "config.json", _hub_config(run, facts))
    write_sealed(folder / "record.json", record)
    for file, text in texts.items():
        write_text(folder / file, text)
    return sorted(["model.safetensors", "config.json", "record.json", *texts])


def model_card(run: Run, facts: Mapping[str, Any], *, name: str, license: str) -> str:
    """The text of README.md: data, method, results with their counts and spread, use, training, licence, citation."""
    jinja2 = require("jinja2")
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    about, source = _described(run)
    error = _own_error(run, facts["weights"])
    own = [("error of these weights", f"{error:.2f} %", _images(run))] if error is not None else []
    text: str = pages.get_template("card.md").render(
        front_matter=_front_matter(run, name=name, license=license, error=error),
        name=name,
        facts=facts,
        about=about,
        results=[*own, *_evaluated(run)],
        choice=_choice(run, facts["weights"]),
        spread=_spread(run),
        build={"name": run.config.model.name, "options": _build_options(run)},
        outside=is_outside(run.config.model.name),
        training=_training(run, facts),
        license=license,
        source=source,
        bibtex="AlignMixup" in source,
    )
    return text


def _front_matter(run: Run, *, name: str, license: str, error: float | None) -> str:
    hub = require("huggingface_hub")
    about = {"type": "image-classification", "data": run.data.name}
    results = []
    if error is not None:
        accuracy = {"metric_type": "accuracy", "metric_name": "Accuracy (%)", "metric_value": round(100 - error, 4)}
        results = [
            hub.EvalResult(task_type=about["type"], dataset_type=about["data"], dataset_name=about["data"], **accuracy)
        ]
    data = hub.ModelCardData(
        license=license,
        library_name="timm" if run.config.model.name.startswith("timm:") else "alignmixup",
        pipeline_tag=about["type"],
        tags=["alignmixup", run.method, about["type"]],
        metrics=["accuracy"],
        model_name=name,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml(line_break=os.linesep).strip()}\n---"


def _hub_config(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json``: the facts; of a network as timm has it also what timm reads (``local-dir:``, ``hf-hub:``)."""
    library, _, architecture = run.config.model.name.partition(":")
    options = _build_options(run)
    config = {**facts, "num_classes": len(facts["classes"]), "options": options}
    if library != "timm" or any(value for key, value in options.items() if key != "in_channels"):
        return config
    seen, side = facts["input"], facts["input"]["shape"][-1]
    view, pixels = test_view(run.data, side=side)
    chosen = {"input_size": seen["shape"][1:], "mean": seen["mean"], "std": seen["std"], "interpolation": "bilinear"}
    chosen |= {"crop_pct": side / pixels, "crop_mode": "center" if view == "center" else "squash"}
    return config | {
        "architecture": architecture,
        "label_names": facts["classes"],
        "pretrained_cfg": chosen | {"num_classes": config["num_classes"]},
        "model_args": {"in_chans": seen["shape"][1]},
    }


def _build_options(run: Run) -> dict[str, Any]:
    from alignmixup import models

    options = models.without_start(run.config.model.name, run.config.model.options)
    options = {key: value for key, value in options.items() if key not in _LOADED_ANYWAY}
    if "in_channels" in models.options(run.config.model.name):
        options.setdefault("in_channels", run.data.channels)
    return options


def _described(run: Run) -> tuple[str, str]:
    """The first line of the method's docstring, and its source."""
    text = inspect.getdoc(methods.load(run.config.method.name)) or ""
    source = _SOURCE.search(f"{text}\n")
    return text.split("\n\n")[0].replace("\n", " "), " ".join(
        source[1].split()
    ) if source else "The method states none."


def _own_error(run: Run, weights: Mapping[str, Any]) -> float | None:
    """Error of the weights in percent, as the record has it; None of those that were not tested in training."""
    assert run.folder is not None
    assert run.record is not None
    key = {run.folder.weights.name: "last_error_percent", run.folder.best_weights.name: "best_error_percent"}
    name = key.get(weights["file"])
    return float(run.record["metrics"][name]) if name else None


def _images(run: Run) -> str:
    kind = "held-out training" if run.config.data.validation else "test"
    return f"{len(run.data.test)} {kind} images"


def _evaluated(run: Run) -> Iterator[tuple[str, str, str]]:
    """What `alignmixup evaluate` measured of these weights: measure, value, images."""
    assert run.folder is not None
    file = run.folder.path / EVALUATION_FILE
    found = read_evaluation(file) if file.is_file() else {}
    if found.get("settings", {}).get("weights_sha256") != run.fingerprint:
        return
    if calibration := found.get("calibration"):
        yield "expected calibration error", f"{calibration['ece_percent']:.2f} %", f"{found['images']} images"
        yield "Brier score", f"{calibration['brier']:.4f}", f"{found['images']} images"
    attacks = found.get("attacks", {})
    for attack in attacks.get("attacks", ()):
        yield f"error under {attack['label']}", f"{attack['error_percent']:.2f} %", f"{attacks['images']} images"
    for name, one in found.get("ood", {}).get("sets", {}).items():
        auroc = 100 * one["msp"]["auroc"]
        yield f"AUROC against {name} (largest probability)", f"{auroc:.2f} %", f"{one['in_images']} images of each"
    if corruptions := found.get("corruptions"):
        of = f"{corruptions['images']} images, {len(corruptions['kinds'])} kinds of corruptions"
        yield "mean error under corruptions", f"{corruptions['mean_error_percent']:.2f} %", of


def _choice(run: Run, weights: Mapping[str, Any]) -> str:
    """Which epoch the weights are of, and who chose it."""
    if "chosen_on" in weights:
        optimistic = ", so that this error is optimistic" if weights["chosen_on"] == "the test set" else ""
        which = f"epoch {weights['epoch']} of {weights['epochs']}, the best on {weights['chosen_on']}{optimistic}"
    else:
        which = f"the last epoch, {weights.get('epochs', '?')}" + (
            " (not averaged)" if run.folder and weights["file"] == run.folder.raw_weights.name else ""
        )
    return f"The weights are those of {which}."


def _spread(run: Run) -> str:
    """Error over the runs that differ from this one by their seed alone and lie beside it; empty of one."""
    assert run.folder is not None
    records = [one for folder in _siblings(run.folder.path) if (one := _comparable(folder, run)) is not None]
    errors = [record["metrics"]["last_error_percent"] for record in records]
    deviation = spread(errors)
    if deviation is None:
        return "One run: nothing is known of the spread over seeds."
    seeds = ", ".join(str(record["seed"]) for record in records)
    mean = sum(errors) / len(errors)
    return (
        f"Error after the last epoch over {len(errors)} runs (seeds {seeds}): {mean:.2f} ± {deviation:.2f} %, mean and "
        "standard deviation."
    )


def _siblings(folder: Path) -> list[Path]:
    label = re.sub(r"-seed\d+$", "", folder.resolve().name)
    beside = folder.resolve().parent.iterdir()
    return sorted(one for one in beside if re.fullmatch(rf"{re.escape(label)}(-seed\d+)?", one.name))


def _comparable(folder: Path, run: Run) -> dict[str, Any] | None:
    try:
        if configuration_of(load(folder, trust=True)) != configuration_of(run):
            return None
        return read_record(RunFolder(folder).record)
    except (ValueError, OSError):
        return None


def _training(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    assert run.record is not None
    environment = run.record.get("environment", {})
    packages = environment.get("packages", {})
    return {
        "epochs": run.record["metrics"]["epochs"],
        "seed": run.seed,
        "parameters": run.record["metrics"]["parameters"],
        "time": f"{run.record['metrics']['seconds']:.0f} s on {environment.get('gpu') or environment.get('processor')}",
        "precision": run.config.train.precision,
        "alignmixup": f"{packages.get('alignmixup')}, revision {run.record.get('revision', {}).get('commit')}",
        "torch": packages.get("torch"),
        "SHA-256 of the weights": facts["weights"]["sha256"],
    }
