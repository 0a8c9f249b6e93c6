"""Results only grow: what is stored is read, kept beside what is new, and never lost unasked."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignmixup import runs
from alignmixup.records import read_json
from alignmixup.runs import measurements
from alignmixup.runs.measurements import Measurements
from alignmixup.training.build import build_model, load_data, save_model
from alignmixup.training.config_file import ConfigError, dump, load

PARTS = {"what": "calibration,attacks,ood", "attack": "fgsm", "ood": "uniform", "limit": 30, "checks": False}


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    """A network that was never trained, in a run folder."""
    overrides = ["model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu", "train.threads=1"]
    config = load("digits/baseline", overrides)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(dump(config))
    save_model(folder / "model.safetensors", build_model(config, load_data(config)))
    return runs.load(folder)


@pytest.fixture
def out(run: runs.Run) -> Path:
    assert run.folder
    return run.folder.path / "evaluation.json"


def read(file: Path) -> dict[str, Any]:
    return read_json(file)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any, **__: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(measurements, "collect_outputs", measure)


def test_a_plain_evaluation_keeps_every_part_and_measures_nothing_twice(
    run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = runs.evaluate(run, out=out, **PARTS)
    forbid(monkeypatch)
    assert runs.evaluate(run, out=out) == read(out)
    assert {key: read(out)[key] for key in ("attacks", "ood", "calibration")} == {
        key: json.loads(json.dumps(whole[key])) for key in ("attacks", "ood", "calibration")
    }
    assert runs.evaluate(run, out=out, **PARTS) == read(out)
    with pytest.raises(AssertionError, match="measured"):
        runs.evaluate(run, out=out, overwrite=True)


def test_attacks_on_the_same_images_stand_beside_each_other(
    run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def labels() -> list[str]:
        return [row["label"] for row in read(out)["attacks"]["attacks"]]

    weak = "pgd:iterations=2"
    runs.evaluate(run, out=out, attack=weak, limit=30, check_images=10)
    checks, first = read(out)["attacks"]["checks"], read(out)["attacks"]["attacks"][0]
    seen: list[str] = []
    usual = measurements.robust_error

    def counted(model: Any, loader: Any, attack: Any, **options: Any) -> Any:
        seen.append(attack.name)
        return usual(model, loader, attack, **options)

    monkeypatch.setattr(measurements, "robust_error", counted)
    runs.evaluate(run, out=out, attack=(weak, "fgsm"), limit=30, check_images=10)
    assert seen == ["fgsm"]
    assert labels() == ["pgd 4/255, 2 x 2/255", "fgsm 8/255"]
    assert read(out)["attacks"]["attacks"][0] == first
    assert read(out)["attacks"]["checks"] == checks
    runs.evaluate(run, out=out, attack=weak, limit=30, check_images=10)
    runs.evaluate(run, out=out, attack="fgsm", limit=30, checks=False)
    assert seen == ["fgsm"]
    with pytest.raises(ConfigError, match=r"holds attacks with limit = 30, not 20: --overwrite replaces it, --out"):
        runs.evaluate(run, out=out, attack="fgsm", limit=20)
    runs.evaluate(run, out=out, attack="fgsm", limit=20, checks=False, overwrite=True)
    assert labels() == ["fgsm 8/255"]  # on other images


def test_sets_stand_beside_each_other(run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runs.evaluate(run, out=out, ood="uniform", limit=30)["ood"]["sets"]
    grown = runs.evaluate(run, out=out, what="ood", limit=30)["ood"]
    assert list(grown["sets"]) == ["uniform", "gaussian"]  # the usual ones, without digits, which are the data
    assert grown["sets"]["uniform"] == first["uniform"]
    forbid(monkeypatch)
    for asked in ("gaussian", "gaussian,uniform", ""):
        assert list(runs.evaluate(run, out=out, what="ood", ood=asked, limit=30)["ood"]["sets"]) == list(grown["sets"])


def test_corruptions_stand_beside_each_other(run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    usual = measurements.evaluate_corruptions

    def counted(*given: Any, kinds: Any, **options: Any) -> Any:
        seen.append((*kinds,))
        return usual(*given, kinds=kinds, **options)

    def ask(kinds: str, severities: str, **options: Any) -> dict[str, Any]:
        asked = {"corruptions": kinds, "severities": severities, "limit": 30, **options}
        result: dict[str, Any] = runs.evaluate(run, out=out, **asked)["corruptions"]
        assert json.loads(json.dumps(result)) == read(out)["corruptions"]
        return result

    monkeypatch.setattr(measurements, "evaluate_corruptions", counted)
    monkeypatch.setattr(measurements, "SMALLEST", 1)
    first = ask("brightness,contrast", "1,3")
    both = ask("gaussian_noise", "1,3")
    assert both["kinds"] == ["gaussian_noise", "brightness", "contrast"]
    assert {kind: both["error_percent"][kind] for kind in first["kinds"]} == first["error_percent"]
    assert both["mean_error_percent"] == pytest.approx(sum(both["kind_error_percent"].values()) / 3)
    assert ask("contrast", "3") == ask("contrast,brightness", "3,1") == both
    assert seen == [("brightness", "contrast"), ("gaussian_noise",)]
    wider = ask("contrast", "5")  # at another severity all are measured
    assert (wider["severities"], wider["kinds"], seen[2:]) == ([1, 3, 5], both["kinds"], [tuple(both["kinds"])])
    assert [errors[:2] for errors in wider["error_percent"].values()] == [*both["error_percent"].values()]
    assert run.folder
    alone = ask("contrast", "3,1", baseline=run.folder.path)
    assert (alone["mce"]["kinds"], alone["mce"]["mce_percent"]) == (["contrast"], 100)
    with pytest.raises(ConfigError, match="holds corruptions with limit = 30, not 20"):
        ask("contrast", "3", limit=20)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bins": 10}, "holds calibration with bins = 15, not 10"),
        ({"ood": "gaussian", "limit": 20}, "holds ood with limit = 30, not 20"),
    ],
)
def test_an_answer_to_another_question_is_not_lost_unasked(
    run: runs.Run, out: Path, asked: dict[str, Any], message: str
) -> None:
    runs.evaluate(run, out=out, **PARTS | {"what": "calibration,ood", "attack": None})
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=message):
        runs.evaluate(run, out=out, **asked)
    assert out.read_bytes() == before
    changed = runs.evaluate(run, out=out, overwrite=True, **asked)
    assert changed["ood"]  # and what was not asked for stays


def test_parts_are_kept_as_they_finish(run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Measurements) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Measurements, "ood", stop)
        with pytest.raises(KeyboardInterrupt):
            runs.evaluate(run, out=out, **PARTS)
    attacks = read(out)["attacks"]
    assert "ood" not in read(out)
    with monkeypatch.context() as patch:
        patch.setattr(Measurements, "attacks", stop)  # not measured again
        result = runs.evaluate(run, out=out, **PARTS)
    assert json.loads(json.dumps(result["attacks"])) == attacks
    assert result["ood"]


@pytest.mark.parametrize(
    "late",
    [
        {"corruption_folder": "nowhere"},
        {"ood": "folder:nowhere"},
        {"baseline": "nowhere"},
        {"corruptions": "fogg"},
        {"ood": "unifrom"},
    ],
)
def test_a_bad_late_option_is_refused_before_anything_is_computed(
    run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch, late: dict[str, Any]
) -> None:
    forbid(monkeypatch)
    with pytest.raises((ValueError, OSError)):
        runs.evaluate(run, out=out, what="error,attacks", **late)
    assert not out.exists()


def test_nothing_but_an_evaluation_is_written_over(run: runs.Run, out: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    for content in ('{"methods": [], "runs": [], "format": 1}', "no JSON", "[]"):
        file.write_text(content)
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match="is there and holds no evaluation of a network: name another file"):
                runs.evaluate(run, out=file, overwrite=overwrite)
        assert file.read_text(encoding="utf-8") == content
    with pytest.raises(ConfigError, match="is a file of the run itself"):
        runs.evaluate(run, out=out.with_name("record.json"))


@pytest.mark.parametrize("name", ["evaluation.json", "mine.json"])
def test_a_damaged_evaluation_is_replaced_on_request_only(run: runs.Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    runs.evaluate(run, out=file, what="error", limit=20)
    whole = file.read_text(encoding="utf-8")
    checksum = whole.replace('"run": "', '"run": "x')
    form = json.dumps(json.loads(whole) | {"error_percent": "low", "sha256_of_the_rest": None})
    for damaged in (checksum, form, whole[:-3], *[""] * (name == "evaluation.json")):
        assert damaged != whole
        file.write_text(damaged)
        with pytest.raises(ConfigError, match=rf"{name} is damaged.*; --overwrite replaces it") as refusal:
            runs.evaluate(run, out=file, what="error", limit=20)
        assert "\n" not in str(refusal.value)
        assert file.read_text(encoding="utf-8") == damaged
        runs.evaluate(run, out=file, what="error", limit=20, overwrite=True)
        assert read(file)["error_percent"] == json.loads(whole)["error_percent"]


def test_an_evaluation_of_an_older_version_of_the_package_is_measured_again(run: runs.Run, out: Path) -> None:
    runs.evaluate(run, out=out, what="error,ood", ood="uniform", limit=30)
    stored = read(out)
    stored["error_percent"] = 0.0
    for part in stored["settings"]["parts"].values():
        part["version"] = "0.0.1"
    out.write_text(json.dumps(stored), encoding="utf-8")
    assert runs.evaluate(run, out=out, what="error")["error_percent"] > 50
    assert read(out)["ood"] == stored["ood"]
