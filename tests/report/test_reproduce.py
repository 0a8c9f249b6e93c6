"""Commands that make a run again."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alignmixup.report.collect import find_runs
from alignmixup.report.reproduce import command_for, config_hash, config_text, split_keys
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import load
from alignmixup.training.meaning import FREE_KEYS, IMAGES, flatten, same

Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("digits/manifold_mixup", ("method.layer=['stage1','stage3']", "model.final_norm=false")),
        ("cifar100/fast/alignmixup", ("train.epochs=7", "model.width=8", "data.normalization=half")),
        ("cifar100/cutmix", ("schedule.milestones=[]", "schedule.name=cosine", "optimizer.lr=0.05")),
        # an option that both networks have, at the value that the bundled file gives to its own
        ("folder/lite0/mixup", ("model.name=timm:resnet18", "model.weights=runs/weights/lite0.safetensors")),
    ],
)
def test_the_command_means_the_same_configuration(make: Make, name: str, overrides: tuple[str, ...]) -> None:
    folder = make("run", 3, [20.0] * 7, name=name, overrides=overrides)
    (run,) = find_runs([folder])
    command = shlex.split(command_for(run))
    assert command[:4] == ["alignmixup", "train", "--config", name]
    again = load(command[3], [text for text in command[5:] if text != "data.root=DIR"])
    assert flatten(to_dict(again)) == flatten(run.config)
    assert len(command) <= 12  # the bundled file with the fewest differences


def test_a_method_from_outside_is_named_beside_its_options(make: Make) -> None:
    (run,) = find_runs([make("mixup", 0, [20.0])])
    config = {**run.config, "method": {"name": "benchmarks.controls:PermutedMixup", "layer": "stage2", "alpha": 2}}
    other = replace(run, label="mine", record={**run.record, "config": config})
    command = shlex.split(command_for(other))
    assert command[:6] == ["python", "-m", "alignmixup", "train", "--config", "digits/baseline"]
    again = flatten(to_dict(load(command[5], command[7:])))
    assert {key: value for key, value in again.items() if key.startswith("method.")} == flatten(
        {"method": config["method"]}
    )
    assert config_hash(replace(other, record={**run.record, "config": to_dict(load(command[5], command[7:]))})) == (
        config_hash(other)
    )


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "results").glob("*/records.jsonl")), ids=str)
def test_the_command_of_every_stored_record_gives_its_configuration(file: Path) -> None:
    for run in {config_hash(run): run for run in find_runs([file])}.values():
        words = shlex.split(command_for(run))
        place = words.index("--config") + 1
        assert same(run.config, load(words[place], words[place + 2 :]), but=(*FREE_KEYS, IMAGES)), words


def test_a_network_that_the_bundled_files_of_the_data_lack_has_a_command(make: Make) -> None:
    assert load("cub/resnet50_gap/baseline").model.options["pretrained"]  # which another network drops
    of_cub = ("data.name=cub", "data.root=DIR", "model.weights=lite0.safetensors")
    (near,) = find_runs([make("near", 0, [20.0], name="folder/lite0/baseline", overrides=of_cub)])
    words = shlex.split(command_for(near))
    assert words[3] == "folder/lite0/baseline"
    assert same(near.config, load(words[3], words[5:]), but=FREE_KEYS)


def test_what_no_command_gives_has_a_file_of_its_own(make: Make) -> None:
    (run,) = find_runs([make("mixup", 0, [20.0])])
    config = {**run.config, "train": {**run.config["train"], "gone": 1}}  # of another version
    other = replace(run, label="mine", record={**run.record, "config": config})
    assert command_for(other) == "alignmixup train --config mine.toml  # its text is below"
    assert "train.gone = 1" in config_text(other)
    method = {"name": "package.module:Class"}
    assert 'name = "package.module:Class"' in config_text(
        replace(run, record={**run.record, "config": {**run.config, "method": method}})
    )


def test_keys_that_differ_and_keys_that_are_shared(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [20.0], overrides=("optimizer.lr=0.3", "train.threads=1"))
    make("cutmix", 1, [20.0])
    differing, shared = split_keys(find_runs([tmp_path]))
    assert set(differing) == {"optimizer.lr", "method.name", "method.probability"}
    assert shared["train.batch_size"] == 32
    assert "train.seed" not in shared


def test_a_configuration_is_named_by_what_changes_its_result(make: Make) -> None:
    rows = [(1, ()), (2, ("train.threads=1",)), (3, ("optimizer.lr=0.3",))]
    one, two, other = (
        config_hash(run) for row in rows for run in find_runs([make("mixup", row[0], [20.0], overrides=row[1])])
    )
    assert one == two != other
    assert len(one) == 12


def test_a_key_that_came_later_changes_no_hash_where_it_changes_nothing(make: Make) -> None:
    new, tailed, whole = (
        find_runs([make("mixup", seed, [20.0], overrides=keys)])[0]
        for seed, keys in enumerate(((), ("data.imbalance=100.0",), ("data.imbalance=100",)))
    )
    data = {key: value for key, value in new.config["data"].items() if key != "imbalance"}
    old = replace(new, record={**new.record, "config": {**new.config, "data": data}})
    assert "imbalance" not in old.config["data"]
    assert config_hash(old) == config_hash(new) != config_hash(tailed)
    assert command_for(old) == command_for(new)
    assert config_hash(whole) == config_hash(tailed)  # 100 means 100.0
