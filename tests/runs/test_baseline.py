"""The run without mixing that a method is compared with."""

from typing import Any

import pytest

from alignmixup.runs.baseline import choose_baseline, differing
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import load


def tables(name: str, *overrides: str) -> dict[str, dict[str, Any]]:
    return to_dict(load(name, overrides))


def test_the_one_that_differs_in_the_method_alone() -> None:
    wide, same = tables("digits/baseline", "model.width=32"), tables("digits/baseline", "method.label_smoothing=0.1")
    assert choose_baseline(tables("digits/mixup"), [wide, same, same]) == 1
    assert choose_baseline(tables("digits/mixup", "model.width=32"), [same, wide]) == 1
    assert choose_baseline(tables("digits/mixup", "optimizer.lr=0.5"), [wide, same]) is None
    assert choose_baseline(tables("digits/mixup"), []) is None


def test_seeds_and_free_keys_do_not_count() -> None:
    free = tables("digits/baseline", "train.seed=3", "train.device=cpu", "data.root=x", "data.workers=1")
    assert choose_baseline(tables("digits/mixup"), [free]) == 0


@pytest.mark.parametrize("key", ["train.epochs=3", "data.subset=5", "evaluation.every=2", "train.precision=bf16"])
def test_every_other_key_counts(key: str) -> None:
    assert differing(tables("digits/mixup"), tables("digits/baseline", key)) == [key.partition("=")[0]]


def test_a_key_that_an_older_run_lacks_has_its_default() -> None:
    older = tables("digits/baseline")
    del older["data"]["imbalance"], older["optimizer"]["freeze"], older["model"]["final_norm"]
    older["model"]["strides"] = (1, 2, 1, 1)
    assert differing(tables("digits/mixup", "model.final_norm=false"), older) == []
    assert differing(tables("digits/mixup", "model.final_norm=true"), older) == ["model.final_norm"]
    assert differing(older, tables("digits/baseline", "data.imbalance=10.0", "model.final_norm=false")) == [
        "data.imbalance"
    ]
    del older["model"]["in_channels"]  # they are those of the images
    assert differing(tables("digits/mixup", "model.final_norm=false"), older) == []


def test_folders_of_other_images_are_no_baselines() -> None:
    mixup = tables("folder/mixup", "data.root=a/cats")
    cars, cats = tables("folder/baseline", "data.root=cars"), tables("folder/baseline", "data.root=./a/cats")
    assert choose_baseline(mixup, [cars, cats]) == 1
    assert differing(mixup, cars) == ["images"]


def test_what_this_version_does_not_know_is_compared_as_it_stands() -> None:
    theirs = tables("digits/baseline")
    theirs["model"] = {"name": "of_another_version", "depth": 3}
    theirs["train"]["news"] = 1
    assert differing(theirs, theirs) == []
    assert differing(theirs, theirs | {"train": theirs["train"] | {"news": 2}}) == ["train.news"]
