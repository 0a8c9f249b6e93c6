"""Results only grow: what is stored is read, kept beside what is new, and never lost unasked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.untrained import write_run

from alignmixup import runs
from alignmixup.records import read_json
from alignmixup.runs import measurements
from alignmixup.runs.evaluation import evaluate_several, figure_files, recorded_errors
from alignmixup.runs.measurements import Measurements
from alignmixup.runs.options.evaluation import build_plan
from alignmixup.runs.stored.settings import circumstances_of
from alignmixup.training.build import load_data
from alignmixup.training.config_file import ConfigError, dump, load

PARTS = {"what": "calibration,attacks,ood", "attack": "fgsm", "ood": "uniform", "limit": 30, "checks": False}


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    """A network that was never trained, in a run folder."""
    overrides = ["model.width=2", "model.strides=[2,2,1,1]", "train.device=cpu", "train.threads=1"]
    return runs.load(write_run(tmp_path / "run", load("digits/baseline", overrides)))


@pytest.fixture
def out(run: runs.Run) -> Path:
    assert run.folder
    return run.folder.path / "evaluation.json"


def read(file: Path) -> dict[str, Any]:
    return read_json(file)


def on_pictures(folder: Path, root: Path, *, seed: int = 0) -> Path:
    """A run that was never trained, on the images of two classes in ``root``, which it makes."""
    for name, level in (("cat", 40), ("dog", 200)):
        for number in range(3):
            file = root / "test" / name / f"{number}.png"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 20), (level + number, 20 * (ord(root.name[2]) - 110), 0)).save(file)
    small = ["data.name=folder", "data.image_size=8", "data.workers=0", "model.width=2", "model.in_channels=3"]
    where = [f"data.root={root}", f"train.seed={seed}", "train.device=cpu", "train.threads=1"]
    config = load("digits/baseline", [*small, *where])
    write_run(folder, config, load_data(config, test_only=True))
    return folder


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


def test_a_folder_is_another_one_seen_from_another_working_directory(
    run: runs.Run, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, level in (("here", 10), ("there", 200)):
        (tmp_path / place / "others").mkdir(parents=True)
        Image.new("L", (8, 8), level).save(tmp_path / place / "others" / "0.png")
        monkeypatch.chdir(tmp_path / place)
        found = runs.evaluate(run, out=out, ood="folder:others", what="error", limit=30)["ood"]["sets"]
    assert list(found) == [f"folder:{tmp_path / place / 'others'}" for place in ("here", "there")]
    here, there = (build_plan(corruption_folder=tmp_path / place / "others") for place in ("here", "there"))
    assert build_plan(corruption_folder="others") == there != here
    stored = read(out)
    named = stored["settings"]["parts"]["ood"]["ood"] = [f"folder:{tmp_path / 'here'}/others", "folder:others"]
    stored["ood"]["sets"] = dict(zip(named, found.values(), strict=True))
    out.write_text(json.dumps(stored), encoding="utf-8")  # as files of before name them
    forbid(monkeypatch)
    assert runs.evaluate(run, out=out, ood="folder:others", what="error", limit=30)["ood"]["sets"] == found


def test_a_set_whose_folder_is_gone_is_left_out_on_request_only(run: runs.Run, out: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    Image.new("L", (8, 8), 10).save(tmp_path / "others" / "0.png")
    runs.evaluate(run, out=out, ood=f"folder:{tmp_path / 'others'}", what="error", limit=30)
    shutil.rmtree(tmp_path / "others")
    with pytest.raises(ConfigError, match=r"others, which is gone, and sets are measured together: --overwrite leaves"):
        runs.evaluate(run, out=out, ood="gaussian", what="error", limit=30)
    found = runs.evaluate(run, out=out, ood="gaussian", what="error", limit=30, overwrite=True)
    assert list(found["ood"]["sets"]) == ["gaussian"]


def test_runs_whose_results_grew_apart_make_one_table_and_figure(run: runs.Run, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(out.parent, other)
    config = load(str(other / "config.toml"), ["train.seed=1"])
    (other / "config.toml").write_text(dump(config), encoding="utf-8")
    both, asked = [run, runs.load(other)], {"what": "error", "severities": "1", "limit": 30, "checks": False}
    runs.evaluate(run, out=out, corruptions="contrast,brightness", attack=("pgd:iterations=1", "fgsm"), **asked)
    plan = build_plan(corruptions="contrast", attack="fgsm", **asked)
    results = evaluate_several(both, plan, out=tmp_path / "both.json")
    assert [one["corruptions"]["kinds"] for one in results] == [["contrast", "brightness"], ["contrast"]]
    (summary,) = read(tmp_path / "both.json")["methods"]
    errors = [one["corruptions"]["error_percent"]["contrast"][0] for one in results]
    assert summary["mean"]["corruption_error_percent"] == pytest.approx(sum(errors) / 2)
    assert "pgd 4/255, 1 x 2/255 error_percent" not in summary["mean"]
    assert {file.name for file in figure_files(results, tmp_path / "both.json")} == {
        "both-attacks.png",
        "both-corruptions.png",
    }


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
        ({"limit": 20}, r"other images \(30, not 20\)"),
        ({"seed": 1}, r"other seed \(0, not 1\)"),
        ({"corruptions": "fog"}, r"other kinds \(contrast, not fog\)"),
        ({"severities": "1,3"}, r"other severities \(3, not 1\)"),
        ({"corruption_folder": "released"}, r"other source \(generated, not folder released\)"),
    ],
)
def test_a_baseline_of_other_corrupted_images_is_refused_before_anything_is_measured(
    run: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], message: str
) -> None:
    same = {"corruptions": "contrast", "severities": "3", "limit": 30}
    monkeypatch.setattr(measurements, "SMALLEST", 1)
    monkeypatch.setattr("alignmixup.evaluation.corruptions.evaluate.SMALLEST", 1)
    runs.evaluate(run, out=tmp_path / "evaluation.json", **same)
    forbid(monkeypatch)
    with pytest.raises(ConfigError, match=message):
        runs.evaluate(run, out=tmp_path / "other.json", baseline=tmp_path, **(same | asked))


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
    runs.evaluate(run, out=out, what="calibration", ood="uniform", limit=30)
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
    runs.evaluate(run, out=file, what="error")
    whole = file.read_text(encoding="utf-8")
    checksum = whole.replace('"run": "', '"run": "x')
    form = json.dumps(json.loads(whole) | {"error_percent": "low", "sha256_of_the_rest": None})
    for damaged in (checksum, form, whole[:-3], *[""] * (name == "evaluation.json")):
        assert damaged != whole
        file.write_text(damaged)
        with pytest.raises(ConfigError, match=rf"{name} is damaged.*; --overwrite replaces it") as refusal:
            runs.evaluate(run, out=file, what="error")
        assert "\n" not in str(refusal.value)
        assert file.read_text(encoding="utf-8") == damaged
        runs.evaluate(run, out=file, what="error", overwrite=True)
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


def test_stored_numbers_are_of_the_images_that_they_were_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = on_pictures(tmp_path / "run", tmp_path / "cats")
    on_pictures(tmp_path / "other", tmp_path / "cars")
    out, other = folder / "evaluation.json", runs.load(folder, root=str(tmp_path / "cars"))
    own = runs.evaluate(folder, out=out, what="error")
    with pytest.raises(ConfigError, match=r"other images \(.*run, cats#\w+, not cars#\w+\): --overwrite replaces it"):
        runs.evaluate(other, out=out, what="error")
    elsewhere = runs.evaluate(other, out=tmp_path / "cars.json", what="error")
    assert elsewhere["cross_entropy"] != own["cross_entropy"]
    assert elsewhere["configuration"] == own["configuration"]  # trained on the same
    before = read(out)  # as older versions wrote it: of the run's own images
    del before["settings"]["images"]
    out.write_text(json.dumps(before))
    with pytest.raises(ConfigError, match="holds an evaluation of other images"):
        runs.evaluate(other, out=out, what="error")
    forbid(monkeypatch)
    assert runs.evaluate(folder, out=out, what="error")["settings"]["images"] == own["settings"]["images"]


@pytest.mark.parametrize("change", ["added", "removed", "replaced"])
def test_stored_numbers_are_of_the_files_that_they_were_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder, place = on_pictures(tmp_path / "run", tmp_path / "cats"), tmp_path / "cats/test/dog"
    out = folder / "evaluation.json"
    own = runs.evaluate(folder, out=out, what="error")
    assert own["settings"]["files"].startswith("6 images, ")
    {
        "added": lambda: Image.new("RGB", (9, 9)).save(place / "9.png"),
        "removed": (place / "0.png").unlink,
        "replaced": lambda: Image.effect_noise((20, 20), 99).save(place / "0.png"),
    }[change]()
    message = r"other images \(.*run: 6 images, \w+ then, \d images, \w+ now\): --overwrite replaces it"
    for what in ("error", "error,calibration"):  # the same question, and one that would extend it
        with pytest.raises(ConfigError, match=message):
            runs.evaluate(folder, out=out, what=what)
    before = read(out)  # as older versions wrote it: they say how many
    del before["settings"]["files"]
    (tmp_path / "old.json").write_text(json.dumps(before))
    if change == "replaced":
        assert runs.evaluate(folder, out=tmp_path / "old.json", what="calibration")["settings"]["files"]
    else:
        with pytest.raises(ConfigError, match=r"run: 6 images then, \d images, \w+ now"):
            runs.evaluate(folder, out=tmp_path / "old.json", what="calibration")
    again = runs.evaluate(folder, out=out, what="error", overwrite=True)
    assert again["cross_entropy"] != own["cross_entropy"]
    shutil.move(tmp_path / "cats", tmp_path / "gone")
    forbid(monkeypatch)  # what was measured can be read without the images
    assert runs.evaluate(folder, out=out, what="error")["cross_entropy"] == again["cross_entropy"]


def test_stored_sets_are_of_the_files_that_they_were_measured_on(tmp_path: Path) -> None:
    folder, others = on_pictures(tmp_path / "run", tmp_path / "cats"), tmp_path / "others"
    asked = {"out": folder / "evaluation.json", "what": "error", "ood": f"folder:{others}"}
    others.mkdir()
    for number in range(6):
        Image.new("RGB", (20, 20)).save(others / f"{number}.png")
    first = runs.evaluate(folder, **asked)
    for number in range(6):
        Image.new("RGB", (20, 20), (255, 0, number)).save(others / f"{number}.png")
    Image.new("RGB", (20, 20)).save(others / "9.png")
    message = r"holds ood with folder:.*others = 6 images, \w+, not 7 images, \w+: --overwrite replaces it"
    with pytest.raises(ConfigError, match=message):
        runs.evaluate(folder, **asked)
    grown = runs.evaluate(folder, **asked | {"ood": "gaussian"})["ood"]["sets"]  # all are measured together
    assert grown[f"folder:{others}"] != first["ood"]["sets"][f"folder:{others}"]
    before = read(asked["out"])
    del before["settings"]["parts"]["ood"]["folders"]
    asked["out"].write_text(json.dumps(before))
    assert runs.evaluate(folder, **asked)["ood"]["sets"] == json.loads(json.dumps(grown))  # as older versions wrote it


def test_a_record_is_of_the_images_of_its_run(tmp_path: Path) -> None:
    folder = on_pictures(tmp_path / "run", tmp_path / "cats")
    row = {"epoch": 0, "error_percent": 5.0}
    metrics = {"best_error_percent": 5.0, "best_epoch": 0, "last_error_percent": 5.0}
    own, other = runs.load(folder), runs.load(folder, root=str(tmp_path / "cars"))
    shown = runs.load(folder, data="folder", root=str(tmp_path / "cats"))
    for run in (own, other, shown):
        vars(run)["record"] = {"metrics": metrics, "curve": [row]}
    assert (recorded_errors(own) or {})["best_error_percent"] == 5
    assert recorded_errors(other) is recorded_errors(shown) is None
    vars(own)["record"]["image_files"] = {"test": "6 images, then"}
    assert recorded_errors(own, "6 images, then")
    assert recorded_errors(own, "6 images, now") is None


def test_a_file_of_before_names_other_images_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = on_pictures(tmp_path / "run", tmp_path / "cats")
    on_pictures(tmp_path / "other", tmp_path / "cars")
    out, shown = tmp_path / "found.json", runs.load(folder, data="folder", root=str(tmp_path / "cars"))
    before = json.loads(json.dumps(runs.evaluate(shown, out=out, what="error")))
    name, digits = before["settings"].pop("images").split("#")
    before["settings"]["data"]["root"] = f"{name}, {digits}000000"
    out.write_text(json.dumps(before))
    with pytest.raises(ConfigError, match="holds an evaluation of other images"):
        runs.evaluate(runs.load(folder, data="folder", root=str(tmp_path / "cats")), out=out, what="error")
    forbid(monkeypatch)
    assert runs.evaluate(shown, out=out, what="error")["cross_entropy"] == before["cross_entropy"]


def test_a_file_of_before_a_key_is_of_the_same_data_and_network(
    run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = runs.evaluate(run, out=out, what="error")
    before = read(out)
    del before["settings"]["data"]["imbalance"], before["settings"]["model"]["in_channels"]
    out.write_text(json.dumps(before), encoding="utf-8")
    with monkeypatch.context() as patch:
        forbid(patch)
        assert runs.evaluate(run, out=out, what="error")["cross_entropy"] == numbers["cross_entropy"]
    before["settings"]["data"]["imbalance"] = 10.0
    out.write_text(json.dumps(before), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"evaluation of other data \(.*run, imbalance = 10\.0, not 1\.0\): --overwrite"
    ):
        runs.evaluate(run, out=out, what="error")


def test_runs_of_other_images_or_one_seed_are_not_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cats, cars = (on_pictures(tmp_path / name / "a", tmp_path / name, seed=len(name) % 3) for name in ("cats", "cars"))
    more = on_pictures(tmp_path / "cars" / "b", tmp_path / "cars", seed=5)
    several = [runs.load(folder) for folder in (cats, cars, more)]
    evaluate_several(several, build_plan(what="error"), out=tmp_path / "all.json")
    methods = read(tmp_path / "all.json")["methods"]
    assert [len(method["seeds"]) for method in methods] == [1, 2]
    assert [method["method"].partition("#")[0] for method in methods] == [
        "baseline, data.root=cats",
        "baseline, data.root=cars",
    ]
    forbid(monkeypatch)
    copy = on_pictures(tmp_path / "cars" / "c", tmp_path / "cars", seed=5)
    with pytest.raises(ValueError, match=r"cars/b and .*cars/c are both baseline with seed 5: .*give one of them"):
        evaluate_several([several[2], runs.load(copy)], build_plan(what="error"), out=tmp_path / "two.json")


def test_an_mce_is_of_the_same_images_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch)
    cats, cars = (on_pictures(tmp_path / name / "run", tmp_path / name) for name in ("cats", "cars"))
    asked = build_plan(what="error", corruptions="contrast", severities="1", baseline=cars)
    message = r"--baseline .*cars/run is of cars#\w+, and .*cats/run of cats#\w+: an mCE needs the same images of both"
    with pytest.raises(ConfigError, match=message):
        evaluate_several([runs.load(cats), runs.load(cars)], asked, out=None)
    with pytest.raises(ConfigError, match="no errors under corruptions in"):
        evaluate_several([runs.load(cats)], asked, out=None)
    kinds = {"kinds": ["contrast"], "severities": [1], "error_percent": {"contrast": [9.0]}}
    kinds |= {"mean_error_percent": 9.0, "clean_error_percent": 1.0}
    numbers = {"error_percent": 1.0, "top5_error_percent": 0.0, "cross_entropy": 1.0, "corruptions": kinds}
    stored = circumstances_of(runs.load(cars)) | numbers
    (cars / "evaluation.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match=message):
        evaluate_several([runs.load(cats)], asked, out=None)
    (tmp_path / "then").mkdir()
    stored = circumstances_of(runs.load(cats)) | numbers
    stored["settings"]["files"] = "6 images, then"
    (tmp_path / "then/evaluation.json").write_text(json.dumps(stored))
    asked = build_plan(what="error", corruptions="contrast", severities="1", baseline=tmp_path / "then")
    with pytest.raises(ConfigError, match=r"was measured on other images \(6 images, then then, 6 images, \w+ now\)"):
        evaluate_several([runs.load(cats)], asked, out=None)


def test_checks_are_answered_by_those_of_as_many_images(
    run: runs.Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"what": "error", "attack": "pgd:iterations=2", "limit": 30}
    first = runs.evaluate(run, out=out, check_images=5, **asked)["attacks"]
    assert runs.evaluate(run, out=out, checks=False, **asked)["attacks"] == json.loads(json.dumps(first))
    more = runs.evaluate(run, out=out, check_images=12, **asked)
    assert [one["attacks"]["checks"]["images"] for one in (more, read(out))] == [12, 12]
    assert read(out)["settings"]["parts"]["attacks"]["check_images"] == 12
    assert more["attacks"]["attacks"] == first["attacks"]
    runs.evaluate(run, out=out, check_images=100, **asked)
    forbid(monkeypatch)
    assert runs.evaluate(run, out=out, check_images=500, **asked)["attacks"]["checks"]["images"] == 30  # all there are
