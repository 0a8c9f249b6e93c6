"""Stored records are read as what they are, or refused in one line that names the file and the key."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignmixup.cli import main
from alignmixup.records import EVALUATION_FILE, read_evaluation, read_json, read_localization, read_record, read_results

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "digits" / "records.jsonl"
LOCALIZATION = ROOT / "results" / "tiny-imagenet-localization" / "localization-preact_resnet18.json"
DETECTION = {"detection_accuracy": 0.5, "auroc": 0.5, "aupr_in": 0.5, "aupr_out": 0.5, "fpr95": 0.5}
CALIBRATION = {f"{key}_percent": 10.0 for key in ("ece", "overconfidence", "mean_confidence", "accuracy")}
EVALUATION: dict[str, Any] = {
    "format": 1,
    **{"run": "run", "method": "mixup", "seed": 0, "data": "digits", "weights": "model.safetensors", "images": 50},
    **{"error_percent": 5.0, "top5_error_percent": 1.0, "cross_entropy": 0.2, "error_interval_percent": [4.0, 6.0]},
    "configuration": {"data.name": "digits"},
    "recorded": {"best_error_percent": 4.0, "last10_error_percent": 5.0},
    "settings": {"parts": {"error": {"version": "1"}}},
    "calibration": {
        **CALIBRATION,
        "brier": 0.1,
        "images": 50,
        "reliability": {"edges": [0, 0.5, 1], "counts": [20, 30], "confidence": [0.3, 0.8], "accuracy": [0.4, 0.9]},
        "temperature": {"before": CALIBRATION, "after": CALIBRATION, "images": 25},
    },
    "representation": {
        **{"images": 50, "within_class_percent": 30.0},
        "spectrum": {
            "centred": {"largest_relative": 0.4, "rest_relative": 2.0, "effective_rank": 9.0, "values": [0.4, 0.2]}
        },
        "errors": {"mean_confidence_percent": 50.0, "levels": [0.5], "above_percent": [40.0]},
        "segments": {
            **{"label_changes": 2.0, "other_class_percent": 20.0, "detour": 0.5},
            "confidence_percent": [90.0, 60.0, 90.0],
        },
        "steps": [{"step_255": 1.0, "change_percent": 3.0}],
    },
    "attacks": {"images": 50, "attacks": [{"label": "fgsm", "error_percent": 60.0, "path_error_percent": None}]},
    "ood": {"sets": {"uniform": {"in_images": 50, "msp": DETECTION}}, "mean": {"msp": DETECTION}},
    "corruptions": {
        **{"images": 50, "kinds": ["blur"], "severities": [1, 2], "error_percent": {"blur": [8.0, 9.0]}},
        **{"mean_error_percent": 8.5, "clean_error_percent": 5.0, "kind_error_percent": {"blur": 8.5}},
    },
}
RESULTS = {
    "format": 1,
    **{"data": "digits", "command": "alignmixup compare digits/mixup", "overrides": []},
    "methods": [{"name": "mixup", "folders": ["mixup-seed0"], "settings": {}}],
}
OTHERS = (None, -1, 0, 1.5, 1e300, 10**30 + 1, float("nan"), float("inf"), "", "x" * 300, "<script>", "../..", True)
OTHERS = (*OTHERS, [], {}, [1], ["x"], [[]], {"a": 1}, {"": None}, [None], 7, 2**70)


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree, of lists the first, second and last."""
    keys: list[Any] = list(node) if isinstance(node, dict) else []
    keys = sorted({0, min(1, len(node) - 1), len(node) - 1}) if isinstance(node, list) and node else keys
    for key in keys:
        yield (*path, key)
        yield from paths(node[key], (*path, key))


def mutated(whole: Any, path: tuple[Any, ...], draw: random.Random) -> Any:
    tree = node = copy.deepcopy(whole)
    for key in path[:-1]:
        node = node[key]
    how = draw.random()
    if how < 0.15:
        del node[path[-1]]
    elif how < 0.2:
        node[path[-1]] = json.loads("[" * 200 + "]" * 200)
    elif how < 0.25 and isinstance(node[path[-1]], list):
        node[path[-1]] = node[path[-1]] * 2
    else:
        node[path[-1]] = draw.choice(OTHERS)
    return tree


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "all" / "run"
    run.mkdir(parents=True)
    contents: dict[str, Any] = {
        "run/record.json": json.loads(RECORD.read_text(encoding="utf-8").splitlines()[0]),
        f"run/{EVALUATION_FILE}": EVALUATION,
        "localization.json": json.loads(LOCALIZATION.read_text(encoding="utf-8")),
        "results.json": RESULTS,
    }
    for name, content in contents.items():
        (tmp_path / "all" / name).write_text(json.dumps(content))
    return tmp_path / "all"


def test_the_records_are_whole(folder: Path) -> None:
    assert read_record(folder / "run/record.json")["format"] == 1
    assert read_evaluation(folder / "run" / EVALUATION_FILE) == EVALUATION
    assert read_localization(folder / "localization.json")["groups"]
    assert read_results(folder / "results.json") == RESULTS


def test_every_stored_record_has_the_form(tmp_path: Path) -> None:
    for file in (ROOT / "results").rglob("records/*.json"):
        read_record(file)
    for file in (ROOT / "results").rglob("localization*.json"):
        read_localization(file)


COMMANDS = {
    "run/record.json": [[], ["--table", "csv"]],
    f"run/{EVALUATION_FILE}": [[], ["--table", "csv", "--numbers", "evaluation"]],
    "localization.json": [["--table", "csv", "--numbers", "localization"]],
    "results.json": [[]],
}
TRIED = 12  # of each file; more by hand, when a form is changed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_record_changed_anywhere_is_read_or_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file, draw = folder / name, random.Random(name)
    whole = json.loads(file.read_text(encoding="utf-8"))
    places = list(paths(whole))
    for number in range(TRIED):
        path = draw.choice(places)
        file.write_text(json.dumps(mutated(whole, path, draw)))
        command = COMMANDS[name][number % len(COMMANDS[name])]
        out = [] if command else ["--out", "page.html"]
        status = main(["report", "all", *command, *out])
        said = capsys.readouterr().err.splitlines()
        where = (number, path, file.read_text(encoding="utf-8")[:0], said)
        assert status == 0 or (len(said) == 1 and Path(name).name in said[0]), where


READERS = {"run/record.json": read_record, f"run/{EVALUATION_FILE}": read_evaluation}
READERS |= {"localization.json": read_localization, "results.json": read_results}


@pytest.mark.parametrize(
    "text", ["[]", "3", "null", "{", "", "[" * 100_000, '{"a": 1e999}', '{"a": 1%s}' % ("0" * 400), '{"a": NaN}', "\0"]
)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_record_is_refused(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=Path(name).name) as refusal:
        READERS[name](folder / name)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_the_key_is_named(folder: Path) -> None:
    record = json.loads((folder / "run/record.json").read_text(encoding="utf-8"))
    record["curve"][3]["train_loss"] = "0.5"
    del record["sha256_of_the_rest"]
    (folder / "run/record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"record\.json is damaged: curve\[3\]\.train_loss is '0\.5'"):
        read_record(folder / "run/record.json")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for name in ("pipe.json", "loop.json"):
        with pytest.raises(ValueError, match=f"{name} is no file"):
            read_json(tmp_path / name)
