"""Options that take several values."""

import re

import pytest

from alignmixup.runs.sweep import Sweep, expand, parse_sweep
from alignmixup.training.config_file import ConfigError


def test_values_are_split_outside_brackets_and_quotes() -> None:
    assert parse_sweep("method.epsilon=0.05,0.1, 1") == Sweep("method.epsilon", ("0.05", "0.1", "1"))
    assert parse_sweep('method.layer=["a","b"],stage4') == Sweep("method.layer", ('["a","b"]', "stage4"))
    assert parse_sweep("data.root='a,b',c") == Sweep("data.root", ("'a,b'", "c"))


@pytest.mark.parametrize("text", ["epsilon=1,2", "method.epsilon", "method.epsilon=1,,2", "method.epsilon="])
def test_sweeps_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--sweep {text}: expected table.key=value,value")):
        parse_sweep(text)
    with pytest.raises(ConfigError, match="a value stands there twice"):
        parse_sweep("method.epsilon=1,1")


def test_every_combination_has_a_label_and_its_values() -> None:
    sweeps = [parse_sweep("method.epsilon=0.05,0.1"), parse_sweep("optimizer.lr=0.1,0.01")]
    variants = expand(["digits/baseline", "digits/alignmixup"], overrides=["train.epochs=3"], sweeps=sweeps)
    assert [variant.label for variant in variants] == [
        "baseline,lr=0.1",  # has no epsilon, so that one runs once for each rate
        "baseline,lr=0.01",
        "alignmixup,epsilon=0.05,lr=0.1",
        "alignmixup,epsilon=0.05,lr=0.01",
        "alignmixup,epsilon=0.1,lr=0.1",
        "alignmixup,epsilon=0.1,lr=0.01",
    ]
    last = variants[-1]
    assert (last.config.method.options["epsilon"], last.config.optimizer.lr, last.config.train.epochs) == (0.1, 0.01, 3)
    assert last.values == {"method.epsilon": "0.1", "optimizer.lr": "0.01"}
    assert last.surroundings == variants[1].surroundings == {"optimizer.lr": "0.01"}


def test_an_option_of_a_method_that_is_swept_in_is_swept_too() -> None:
    sweeps = [parse_sweep("method.name=mixup,alignmixup"), parse_sweep("method.epsilon=0.1,1")]
    variants = expand(["digits/baseline"], sweeps=sweeps)
    assert [variant.label for variant in variants] == [
        "baseline,name=mixup",
        "baseline,name=alignmixup,epsilon=0.1",
        "baseline,name=alignmixup,epsilon=1",
    ]
    assert [variant.config.method.options.get("epsilon") for variant in variants] == [None, 0.1, 1]


def test_the_baseline_runs_once_whatever_the_option() -> None:
    sweeps = [parse_sweep("method.alpha=1,2")]
    labels = [variant.label for variant in expand(["digits/baseline", "digits/mixup"], sweeps=sweeps)]
    assert labels == ["baseline", "mixup,alpha=1", "mixup,alpha=2"]


def test_labels_are_fit_for_folders_and_tell_keys_of_one_name_apart() -> None:
    sweeps = [parse_sweep("method.layer=['stage1','stage2'],stage4")]
    assert [v.label for v in expand(["digits/alignmixup"], sweeps=sweeps)] == [
        "alignmixup,layer=stage1_stage2",
        "alignmixup,layer=stage4",
    ]
    sweeps = [parse_sweep("train.batch_size=8"), parse_sweep("evaluation.batch_size=9")]
    (only,) = expand(["digits/mixup"], sweeps=sweeps)
    assert only.label == "mixup,train.batch_size=8,evaluation.batch_size=9"


@pytest.mark.parametrize(
    ("files", "sweeps", "message"),
    [
        (["digits/mixup"], ["method.epsilon=1,2"], "--sweep method.epsilon: none of the methods has this option"),
        (["digits/mixup"], ["method.alpha=1", "method.alpha=2"], "a key stands in two --sweep"),
        (["digits/mixup"], ["optimizer.lr=-1"], "optimizer.lr must be > 0"),
        (["digits/mixup"], ["method.alpha=1_0,1.0,'1_0'"], "two configurations are called mixup,alpha=1_0"),
        (["digits/mixup", "cifar10/mixup"], [], "two configurations are called mixup"),
    ],
)
def test_sweeps_that_cannot_run(files: list[str], sweeps: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        expand(files, sweeps=[parse_sweep(text) for text in sweeps])
