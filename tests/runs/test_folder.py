"""When a folder may be used, and what happens to what lies in it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from alignmixup.runs.folder import RunFolder, default_folder
from alignmixup.training.config import Config, DataConfig, MethodConfig, TrainConfig, to_dict
from alignmixup.training.config_file import ConfigError, load


def started(path: Path, config: Config, *, finished: bool = False) -> RunFolder:
    folder = RunFolder(path)
    folder.claim(config, mode="new")
    folder.begin(config)
    folder.checkpoint.write_bytes(b"x")
    if finished:
        content = {"config": to_dict(config), "metrics": {"epochs": config.train.epochs}}
        folder.record.write_text(json.dumps(content))
    return folder


def test_a_new_folder_gets_the_configuration(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path / "a" / "b"), load("digits/cutmix")
    assert folder.claim(config, mode="new") == "fresh"
    folder.begin(config)
    assert load(folder.config) == config
    assert os.listdir(folder.path) == ["config.toml"]


@pytest.mark.parametrize(
    ("finished", "message"), [(True, "a finished run: --resume keeps"), (False, "an unfinished run")]
)
def test_a_run_is_not_touched_unasked(tmp_path: Path, finished: bool, message: str) -> None:
    folder = started(tmp_path / "run", Config(), finished=finished)
    with pytest.raises(ValueError, match=f"run holds {message}.*--overwrite deletes it, --out"):
        folder.claim(Config(), mode="new")
    assert folder.checkpoint.read_bytes() == b"x"


@pytest.mark.parametrize("finished", [True, False])
def test_resume_finds_it(tmp_path: Path, finished: bool) -> None:
    folder = started(tmp_path / "run", Config(), finished=finished)
    assert folder.claim(Config(), mode="resume") == ("finished" if finished else "started")


def test_resume_of_nothing_starts(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "run").claim(Config(), mode="resume") == "fresh"


def test_resume_of_another_configuration_names_the_key(tmp_path: Path) -> None:
    folder = started(tmp_path / "run", Config(train=TrainConfig(seed=1)))
    with pytest.raises(ValueError, match=r"another configuration: train.seed: 1 there, 0 now; --overwrite"):
        folder.claim(Config(), mode="resume")


def test_overwrite_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    folder = started(tmp_path / "run", Config(), finished=True)
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "tensorboard").mkdir()
    assert folder.claim(Config(), mode="overwrite") == "fresh"
    assert folder.state == "finished"
    folder.begin(Config())
    assert sorted(os.listdir(folder.path)) == ["config.toml", "notes.txt"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        RunFolder(tmp_path).claim(Config(), mode="overwrite")


def test_release_removes_only_an_empty_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(Config(), mode="new")
    folder.release()
    assert not folder.path.exists()
    started(tmp_path / "run", Config()).release()
    assert folder.config.exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"cannot write to the run folder .*file/run: Not a directory; choose another --out"
    ):
        RunFolder(tmp_path / "file" / "run").claim(Config(), mode="new")


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)  # a superuser may write anywhere, so permissions cannot be used
    with pytest.raises(OSError, match=r"cannot write to the run folder .*: Permission denied; choose another --out"):
        RunFolder(tmp_path / "run").claim(Config(), mode="new")


@pytest.mark.parametrize(("name", "stem"), [("cutmix", "cutmix"), ("my.package:Mixer", "Mixer")])
def test_default_folder(name: str, stem: str) -> None:
    config = Config(method=MethodConfig(name=name), train=TrainConfig(seed=4))
    assert default_folder(config) == Path("runs/digits") / f"{stem}-seed4"
    own = replace(config, data=DataConfig(name="folder", root="images/../birds/"))
    assert default_folder(own) == Path("runs/birds") / f"{stem}-seed4"


def test_a_run_that_names_fewer_options_is_the_same_run(tmp_path: Path) -> None:
    config = load("digits/mixup", ["method.name=cutmix"])
    folder = started(tmp_path / "run", config, finished=True)
    for same in (config, load("digits/mixup", ["method.name=cutmix", "method.alpha=1"])):
        assert folder.is_finished(same)
        assert folder.claim(same, mode="resume") == "finished"
    with pytest.raises(ValueError, match=r"holds a run of another configuration: method\.alpha: 1\.0 there, 0.5 now"):
        folder.claim(load("digits/mixup", ["method.name=cutmix", "method.alpha=0.5"]), mode="resume")


def test_a_finished_run_on_other_images_is_not_handed_out(tmp_path: Path) -> None:
    config = replace(Config(), data=DataConfig(name="folder", root="cats"))
    folder = started(tmp_path / "run", config, finished=True)
    other = replace(config, data=replace(config.data, root="cars"))
    assert folder.claim(replace(config, data=replace(config.data, root="./cats/")), mode="resume") == "finished"
    with pytest.raises(ValueError, match=r"run on other images: data\.root = 'cats' there, 'cars' now; --out"):
        folder.claim(other, mode="resume")
    folder.record.unlink()
    assert folder.claim(other, mode="resume") == "started"  # images may be moved in between


def test_the_configuration_is_read_with_overrides(tmp_path: Path) -> None:
    folder = started(tmp_path / "run", Config())
    assert folder.read_config() == Config()
    assert folder.read_config(["train.seed=7"]).train.seed == 7


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run folder: it has no config\.toml"):
        RunFolder(tmp_path).read_config()
