"""What a comparison trains, reads and refuses."""

from pathlib import Path
from typing import Any

import pytest
from tests.runs.comparison.conftest import own, rows

from alignmixup import runs
from alignmixup.records import read_json, write_sealed
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.stored.settings import files_of
from alignmixup.training.config_file import ConfigError

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


def test_runs_on_files_of_before_are_not_read(trained: list[str], caplog: pytest.LogCaptureFixture) -> None:
    files = [Path("cats", split, name, f"{k}.png") for split in ("train", "test") for name in "ab" for k in range(2)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"png")
    compared: dict[str, Any] = {"configs": ["folder/mixup"], "out": "all", "overrides": ["data.root=cats"]}
    runs.compare(**compared, seeds=2)
    record = read_json(Path("all/mixup-seed0/record.json"))
    record["image_files"] = files_of(RunFolder(Path("all/mixup-seed0")).read_config())
    assert set(record["image_files"]) == {"training", "test"}
    write_sealed(Path("all/mixup-seed0/record.json"), record)
    runs.compare(**compared, seeds=3)
    Path("cats/train/a/9.png").write_bytes(b"png")
    message = r"mixup-seed0 holds a run on other training images \(4 images, \w+ then, 5 images, \w+ now\): restore"
    with pytest.raises(ValueError, match=message):
        runs.compare(**compared, seeds=4)
    with pytest.raises(ValueError, match=message):
        RunFolder(Path("all/mixup-seed0")).claim(RunFolder(Path("all/mixup-seed0")).read_config(), mode="resume")
    assert trained == ["mixup-seed0", "mixup-seed1", "mixup-seed2"]
    other_files = {"image_files": {"training": "5 images, 0"}}
    write_sealed(Path("all/mixup-seed1/record.json"), read_json(Path("all/mixup-seed1/record.json")) | other_files)
    other = runs.compare(**compared | {"configs": ["folder/cutmix"]}, seeds=1)
    assert rows(other) == {"cutmix": [0], "mixup": [0, 2]}  # an older record does not say it
    assert "mixup-seed1 is a run on images that were others then" in caplog.text
    Path("cats").rename("gone")
    runs.compare(**compared | {"seeds": 1})  # what is finished can be read without the images


def test_one_comparison_is_of_one_folder_of_images(trained: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"different data sets: cars#\w{6}, cats#\w{6}; compare one at a time"):
        runs.compare(["folder/mixup"], sweeps=["data.root=cats,cars"])
    assert trained == []


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


def test_a_row_may_be_of_another_method_where_its_name_tells_of_none(trained: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "digits/cutmix"\n')
    found = runs.compare([tmp_path / "mine.toml"], seeds=1, overrides=["method.name=mixup"])
    assert rows(found) == {"mine": [0]}


def test_code_outside_the_package_is_left_to_its_run(trained: list[str]) -> None:
    found = runs.compare(["digits/mixup"], seeds=1, sweeps=["method.name=no_module:Mixer"], overrides=["method.any=1"])
    assert rows(found) == {"mixup,name=no_module_Mixer": [0]}
