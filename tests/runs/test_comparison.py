"""Means and spreads over seeds, and which runs are seeds of one row. The runs are made up: nothing is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup import runs
from alignmixup.records import read_json, write_sealed
from alignmixup.runs import comparison
from alignmixup.runs.comparison import difference, mean_and_spread, summarise_runs
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.jobs.queue import Job, Outcome
from alignmixup.runs.record import build_record
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, load

KEYS = (
    "last10_error_percent", "best_error_percent", "last_error_percent",
    "last_cross_entropy", "seconds", "images_per_second",
)  # fmt: skip


def record(seed: int, value: float) -> dict[str, Any]:
    return {"seed": seed, "metrics": dict.fromkeys(KEYS, value), "curve": [{"epoch": 1, "error_percent": value}]}


def test_mean_and_sample_deviation() -> None:
    got = summarise_runs("cutmix", {"a": record(0, 1.0), "b": record(1, 2.0), "c": record(2, 6.0)})
    assert (got["seeds"], got["folders"], got["mean"]["seconds"]) == ([0, 1, 2], ["a", "b", "c"], 3.0)
    assert got["spread"]["last10_error_percent"] == pytest.approx(7**0.5)
    assert mean_and_spread(got, "last10_error_percent") == "3.00 ± 2.65"


def test_one_seed_has_no_spread() -> None:
    got = summarise_runs("cutmix", {"a": record(0, 1.0)})
    assert got["spread"]["seconds"] is None
    assert mean_and_spread(got, "seconds", digits=1) == "1.0"
    assert mean_and_spread(got, "seconds", sign=True) == "+1.00"


def test_the_difference_is_paired_by_seed() -> None:
    # errors rise by 10 with each seed, which the pairing takes out: differences of seeds 1 and 2 are -1 and -3
    baseline = summarise_runs("baseline", {str(seed): record(seed, 10.0 * seed) for seed in (0, 1, 2)})
    method = summarise_runs("cutmix", {"x": record(2, 17.0), "y": record(1, 9.0), "z": record(7, 0.0)})
    found = difference(method, baseline)
    assert found is not None
    assert (found["baseline"], found["seeds"]) == ("baseline", [2, 1])
    assert found["mean"]["last10_error_percent"] == -2.0
    assert found["spread"]["last10_error_percent"] == pytest.approx(2**0.5)
    assert mean_and_spread(found, "best_error_percent", sign=True) == "-2.00 ± 1.41"


def test_without_a_common_seed_there_is_no_difference() -> None:
    baseline, method = summarise_runs("baseline", {"a": record(0, 1.0)}), summarise_runs("mixup", {"b": record(1, 1.0)})
    assert difference(method, baseline) is None


def finish(path: Path, config: Config, error: float = 10.0) -> dict[str, Any]:
    """Leave a finished run in a folder."""
    row = {"train_loss": 1.0, "images": 10, "train_seconds": 1.0, "error_percent": error}
    row |= {"top5_error_percent": 0.0, "cross_entropy": 1.0}
    curve = [{"epoch": epoch, **row} for epoch in range(config.train.epochs)]
    made = build_record(config.settled("fp32"), curve, parameters=1, device=torch.device("cpu"), world_size=1)
    folder = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.begin(config.settled("fp32"))
    write_sealed(folder.record, made)
    return made


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are left as finished instead of trained; the names of those that were. The current folder is a new one."""
    names: list[str] = []

    def do_all(wanted: list[Job], root: Path, **_: object) -> list[Outcome]:
        outcomes = []
        for job in wanted:
            if not job.folder.is_finished(job.config):
                names.append(job.name)
                finish(job.folder.path, job.config, error=len(names))
            outcomes.append(Outcome(job, read_json(job.folder.record)))
        return outcomes

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "_do_all", do_all)
    monkeypatch.setattr("alignmixup.figures.comparison.draw_comparison", lambda results, file: None)
    return names


def rows(results: dict[str, Any]) -> dict[str, list[int]]:
    return {method["name"]: sorted(method["seeds"]) for method in results["methods"]}


def own(name: str, text: str, base: str = "digits/mixup") -> str:
    """A configuration of one's own."""
    Path(name).write_text(f'base = "{base}"\n{text}\n', encoding="utf-8")
    return name


# one folder of images is not another


def test_folders_of_images_have_folders_of_runs_by_their_own_names(trained: list[str]) -> None:
    runs.compare(["folder/mixup"], seeds=1, overrides=["data.root=a/cats"])
    runs.compare(["folder/mixup"], seeds=1, overrides=["data.root=cars"])
    assert trained == ["mixup-seed0", "mixup-seed0"]
    assert Path("runs/cats/mixup-seed0/record.json").is_file()
    assert Path("runs/cars/results.json").is_file()


@pytest.mark.parametrize("data", ["folder", "imagenet"])
@pytest.mark.parametrize("is_finished", [True, False])
def test_runs_on_other_images_are_not_read(trained: list[str], data: str, is_finished: bool) -> None:
    compared: dict[str, Any] = {"configs": [f"{data}/mixup"], "seeds": 1, "out": "all"}
    runs.compare(**compared, overrides=["data.root=a/images"])
    if not is_finished:
        Path("all/mixup-seed0/record.json").unlink()
    runs.compare(**compared, overrides=["data.root=./a/../a/images"])
    with pytest.raises(ValueError, match=r"holds a run on other images: data\.root = .* there, 'b/images"):
        runs.compare(**compared, overrides=["data.root=b/images"])


def test_one_comparison_is_of_one_folder_of_images(trained: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"different data sets: cars#\w{6}, cats#\w{6}; compare one at a time"):
        runs.compare(["folder/mixup"], sweeps=["data.root=cats,cars"])
    assert trained == []


# which seeds of before stay


def test_seeds_of_another_configuration_are_set_aside(trained: list[str], caplog: pytest.LogCaptureFixture) -> None:
    file = own("mine.toml", "[optimizer]\nlr = 0.1")
    runs.compare([file, "digits/cutmix"], seeds=3, out="all")
    own("mine.toml", "[optimizer]\nlr = 0.2")
    with pytest.raises(ValueError, match=r"another configuration: optimizer\.lr"):
        runs.compare([file], seeds=1, out="all")
    Path("all/mine-seed0").rename("gone")
    found = runs.compare([file], seeds=1, out="all")
    assert rows(found) == {"mine": [0], "cutmix": [0, 1, 2]}
    assert "mine-seed1 is a run of another configuration: optimizer.lr: 0.1 there, 0.2 now" in caplog.text
    assert rows(read_json(Path("all/results-1.json"))) == {"mine": [0, 1, 2], "cutmix": [0, 1, 2]}
    assert rows(read_json(Path("all/results.json"))) == rows(found)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [("train.epochs=7", "train.epochs: 7 there"), ("method.alpha=0.5", "method.alpha: 0.5 there, 1.0 now")],
)
def test_seeds_kept_of_one_row_agree_among_themselves(
    trained: list[str], caplog: pytest.LogCaptureFixture, changed: str, reason: str
) -> None:
    constant = ["schedule.name=constant", "train.epochs=5"]
    runs.compare(["digits/mixup"], seeds=3, out="all", overrides=constant)
    other = load("digits/mixup", [*constant, changed, "train.seed=1"])
    finish(Path("all/mixup-seed1"), other)
    found = runs.compare(["digits/cutmix"], seeds=1, out="all", overrides=constant)
    assert rows(found) == {"cutmix": [0], "mixup": [0, 2]}
    assert reason in caplog.text
    assert Path("all/results-1.json").is_file()


def test_a_run_that_is_no_longer_finished_is_told_of(trained: list[str], caplog: pytest.LogCaptureFixture) -> None:
    runs.compare(["digits/mixup"], seeds=2, out="all")
    Path("all/mixup-seed1/record.json").unlink()
    assert rows(runs.compare(["digits/cutmix"], seeds=1, out="all")) == {"cutmix": [0], "mixup": [0]}
    assert "mixup-seed1 is not finished any more; the results that" in caplog.text


def test_an_automatic_precision_is_what_it_turned_out_to_be(trained: list[str]) -> None:
    automatic = ["train.precision=auto"]
    runs.compare(["digits/baseline"], seeds=2, out="all", overrides=automatic)
    found = runs.compare(["digits/mixup"], seeds=1, out="all", overrides=automatic)
    assert rows(found) == {"mixup": [0], "baseline": [0, 1]}
    assert "differing" not in found["methods"][0]["difference"]
    assert not Path("all/results-1.json").exists()


# what a method is compared with


def test_a_row_is_compared_with_the_baseline_that_differs_in_the_method_alone(trained: list[str]) -> None:
    files = [
        own("wide.toml", "[model]\nwidth = 32", "digits/baseline"),
        own("plain.toml", "", "digits/baseline"),
        own("mix.toml", ""),
    ]
    found = {method["name"]: method["difference"] for method in runs.compare(files, seeds=1, out="all")["methods"]}
    assert found["mix"]["baseline"] == "plain"
    assert "differing" not in found["mix"]
    assert found["wide"] is found["plain"] is None


def test_another_baseline_stands_in_where_it_is_the_only_one_and_says_so(trained: list[str]) -> None:
    files = [own(f"{name}.toml", f"[model]\nwidth = {name[1:]}", "digits/baseline") for name in ("w16", "w32")]
    files.append(own("mix.toml", "[optimizer]\nlr = 0.3"))
    one = runs.compare(files[1:], seeds=1, out="one")["methods"][1]["difference"]
    assert (one["baseline"], one["differing"]) == ("w32", ["model.width", "optimizer.lr"])
    assert runs.compare(files, seeds=1, out="two")["methods"][2]["difference"] is None


# what cannot be asked for


@pytest.mark.parametrize(
    "asked", [{"overrides": ["train.seed=7"]}, {"overrides": ["train.seed = 7"]}, {"sweeps": ["train.seed=5,6"]}]
)
def test_seeds_are_asked_for_in_one_way(trained: list[str], asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"--\w+ train.seed ?= ?[57].*: --seeds N says which seeds"):
        runs.compare(["digits/mixup"], **asked)
    assert trained == []


@pytest.mark.parametrize(
    ("configs", "asked", "message"),
    [
        (["mixup"], {"sweeps": ["method.alpha=1,1.0"]}, "mixup,alpha=1 and mixup,alpha=1.0 are one configuration"),
        (["mixup"], {"sweeps": ["method.alpha=1,-1"]}, r"mixup,alpha=-1: \[method\]: alpha must be"),
        (["mixup"], {"sweeps": ["method.alpha=1,word"]}, r"mixup,alpha=word: \[method\]: alpha must be"),
        (["baseline", "mixup"], {"overrides": ["method.epsilon=1"]}, "baseline: .*'baseline' has no option 'epsilon'"),
        (["mixup"], {"overrides": ["model.width=wide"]}, r"mixup: \[model\]: width must be a whole number"),
        (["mixup"], {"sweeps": ["method.name=mixpu"]}, "mixup,name=mixpu: .*unknown method 'mixpu'"),
        (
            ["cutmix"],
            {"overrides": ["method.name=mixup"]},
            "--set method.name=mixup: a row that is called cutmix would",
        ),
        (["mixup"], {"overrides": ["train.seed=1"]}, "--set train.seed=1: --seeds N says which seeds"),
        (
            ["mixup"],
            {"overrides": ["method.alpha = 3"], "sweeps": ["method.alpha=1,2"]},
            "--set method.alpha = 3 and --sweep method.alpha disagree: leave one of them out",
        ),
    ],
)
def test_what_a_run_would_refuse_is_refused_before_the_first(
    trained: list[str], configs: list[str], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        runs.compare([f"digits/{name}" for name in configs], **asked)
    assert trained == []


def test_files_that_say_the_same_are_one_configuration(trained: list[str]) -> None:
    with pytest.raises(ConfigError, match="a and b are one configuration"):
        runs.compare([own("a.toml", ""), own("b.toml", "[train]\nseed = 5")])


def test_code_outside_the_package_is_left_to_its_run(trained: list[str]) -> None:
    found = runs.compare(["digits/mixup"], seeds=1, sweeps=["method.name=no_module:Mixer"], overrides=["method.any=1"])
    assert rows(found) == {"mixup,name=no_module_Mixer": [0]}


# commands


def test_the_commands_of_all_rows_are_kept(trained: list[str]) -> None:
    runs.compare(["digits/baseline"], seeds=2, out="all", command="first")
    runs.compare(["digits/mixup"], seeds=1, out="all", command="second")
    found = runs.compare(["digits/mixup"], seeds=1, out="all", command="second")
    assert (found["command"], found["commands"]) == ("second", ["first", "second"])
    found = runs.compare(["digits/baseline", "digits/mixup"], seeds=2, out="all", command="third")
    assert (found["command"], found["commands"]) == ("third", ["third"])  # which makes every row


def test_an_older_file_names_its_last_command_alone(trained: list[str]) -> None:
    runs.compare(["digits/baseline"], seeds=1, out="all", command="first")
    content = json.loads(Path("all/results.json").read_text(encoding="utf-8"))
    del content["commands"], content["sha256_of_the_rest"]
    Path("all/results.json").write_text(json.dumps(content), encoding="utf-8")
    assert runs.compare(["digits/mixup"], seeds=1, out="all", command="second")["commands"] == ["first", "second"]
