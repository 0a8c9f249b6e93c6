"""What a difference in a key means to each of those that ask whether two configurations are the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignmixup.options import Option, options_of
from alignmixup.report.collect import Run as Stored
from alignmixup.report.reproduce import config_hash
from alignmixup.report.rows import build_rows
from alignmixup.runs.comparison.earlier import _unlike, images_of_set
from alignmixup.runs.comparison.results import collect_results
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.jobs.queue import Job, Outcome
from alignmixup.runs.run import Run
from alignmixup.runs.stored.settings import configuration_of
from alignmixup.runs.sweep import Variant
from alignmixup.training.checkpoint import check_matches
from alignmixup.training.config import TABLES, Config, to_dict
from alignmixup.training.config_file import from_dict, load
from alignmixup.training.meaning import (
    FREE_KEYS,
    OF_ONE_ROW,
    as_written,
    differing,
    first_difference,
    meaning,
    same,
    told,
)

METRICS = (
    "last10_error_percent", "best_error_percent", "last_error_percent",
    "last_cross_entropy", "seconds", "images_per_second",
)  # fmt: skip


def record(config: Config) -> dict[str, Any]:
    curve = [{"epoch": 0, "error_percent": 1.0, "train_loss": 1.0}]
    return {"seed": 0, "metrics": dict.fromkeys(METRICS, 1.0), "curve": curve, "config": to_dict(config)}


def stored(label: str, config: Config) -> Stored:
    return Stored(label, record(config), Path(label))


def without_mixing(config: Config) -> Config:
    return replace(config, method=load("digits/baseline").method)


def resumed(one: Config, other: Config) -> bool:
    return first_difference(one, other) is None


def continued(one: Config, other: Config) -> bool:
    try:
        check_matches({"config": to_dict(one)}, other, path=Path("checkpoint.pt"))
    except ValueError:
        return False
    return True


def row_of_a_comparison(one: Config, other: Config) -> bool:
    return _unlike(one, other, images=images_of_set(other)) is None


def baseline_of_a_comparison(one: Config, other: Config) -> bool:
    """``one`` is the method's, and what ``other`` is without mixing stands beside it."""
    variants = [Variant("a", one), Variant("b", without_mixing(other))]
    jobs = [Job(variant.label, variant.config, RunFolder(Path(variant.label))) for variant in variants]
    outcomes = [Outcome(job, record(job.config)) for job in jobs]
    return "differing" not in collect_results(variants, outcomes, commands=[""])["methods"][0]["difference"]


def row_of_evaluations(one: Config, other: Config) -> bool:
    return configuration_of(Run("", one, None, None)) == configuration_of(Run("", other, None, None))


def row_of_a_report(one: Config, other: Config) -> bool:
    return len(build_rows([stored("a", one), stored("a", other)])) == 1


def baseline_of_a_report(one: Config, other: Config) -> bool:
    (found,) = (row for row in build_rows([stored("a", one), stored("b", without_mixing(other))]) if row.label == "a")
    return not found.apart


def hashed(one: Config, other: Config) -> bool:
    return config_hash(stored("a", one)) == config_hash(stored("a", other))


RESUME, ROWS, BASELINES, HASH = (
    {resumed, continued},
    {row_of_a_comparison, row_of_evaluations, row_of_a_report},
    {baseline_of_a_comparison, baseline_of_a_report},
    {hashed},
)
ALL = RESUME | ROWS | BASELINES | HASH

# a difference in it -> who finds the two the same all the same; of every other key, nobody
SAME: dict[str, set[Any]] = {
    **dict.fromkeys(FREE_KEYS, ALL),
    "train.seed": ROWS | BASELINES | HASH,
    "method": BASELINES,
    "train.epochs, without cosine": RESUME,
    "train.precision, auto at first": RESUME,  # what it turned out to be is in the folder
    "data.root of a folder of images": RESUME | HASH,  # a finished run is refused, see `RunFolder.check_images`
    # what is written down, or not, and means the same; hashes are of what is written
    "model.in_channels": ALL - HASH,
    "an option of the network at its default": ALL - HASH,
    "an option of the method at its default": ALL - HASH,
    "an option of before, which meant nothing": ALL - HASH,
}


CHOSEN = {
    "data.name": "cifar10",
    "data.imbalance": 2.0,
    "schedule.name": "constant",
    "schedule.milestones": [3],
    "train.trackers": ["tensorboard"],
}


def another(name: str, item: Option, value: Any) -> Any:
    """A value that a key may have beside the one that it has."""
    if name in CHOSEN:
        return CHOSEN[name]
    if item.choices:
        return next(choice for choice in item.choices if choice != value)
    return {bool: not value, int: value + 1, float: 0.5}[item.type] if item.type is not str else "other"


def pairs() -> dict[str, tuple[Config, Config]]:
    """The default configuration, and what differs from it in one key; and cases in which two keys meet."""
    one = load("digits/mixup")
    found = {}
    for table, kind in TABLES.items():
        for key, item in options_of(kind).items():
            name = f"{table}.{key}"
            if key != "options" and table not in ("model", "method"):
                tables = to_dict(one)
                tables[table][key] = another(name, item, tables[table][key])
                found[name] = (one, from_dict(tables, source="test"))
    width, alpha = load("digits/mixup", ["model.width=5"]), load("digits/mixup", ["method.alpha=0.5"])
    bare = replace(one, model=replace(one.model, options={"width": 8}))
    full = replace(one, model=replace(one.model, options={"width": 8, "final_norm": False}))
    folder = load("folder/mixup", ["data.root=cats"])
    channels = {key: value for key, value in one.model.options.items() if key != "in_channels"}
    old = load("digits/baseline")
    constant = load("digits/mixup", ["schedule.name=constant"])
    return found | {
        "model.width": (one, width),
        "model.name": (one, load("digits/mixup", ["model.name=vgg16_gap"])),
        "method": (one, alpha),
        "train.epochs, without cosine": (constant, load("digits/mixup", ["schedule.name=constant", "train.epochs=99"])),
        "train.precision, auto at first": (one, load("digits/mixup", ["train.precision=auto"])),
        "data.root of a folder of images": (folder, load("folder/mixup", ["data.root=cars"])),
        "model.in_channels": (one, replace(one, model=replace(one.model, options=channels))),
        "an option of the network at its default": (bare, full),
        "an option of the method at its default": (one, load("digits/mixup", ["method.lam_per=batch"])),
        "an option of before, which meant nothing": (old, load("digits/baseline", ["method.alpha=1.0"])),
    }


@pytest.mark.parametrize("asker", sorted(ALL, key=lambda one: one.__name__), ids=lambda one: one.__name__)
def test_what_a_difference_in_each_key_means(asker: Any) -> None:
    cases = pairs()
    if asker in BASELINES:  # methods have them
        del cases["an option of before, which meant nothing"]
    assert {name for name, pair in cases.items() if asker(*pair)} == {n for n in cases if asker in SAME.get(n, ())}


def test_the_table_names_keys_that_are_there() -> None:
    assert SAME.keys() <= pairs().keys()


def test_both_functions_agree_with_what_is_written_out() -> None:
    for one, other in pairs().values():
        assert same(one, other, but=OF_ONE_ROW) == (not differing(one, other, but=OF_ONE_ROW))
        assert same(one, other, but=OF_ONE_ROW) == (meaning(one, but=OF_ONE_ROW) == meaning(other, but=OF_ONE_ROW))


def test_a_key_that_an_older_record_lacks_has_its_default() -> None:
    older = to_dict(load("digits/baseline"))
    del older["data"]["imbalance"], older["optimizer"]["freeze"]
    assert as_written(older) == {**as_written(load("digits/baseline"))}
    assert differing(older, load("digits/baseline", ["data.imbalance=10"])) == {"data.imbalance": (1.0, 10.0)}


def test_code_outside_the_package_and_of_other_versions_is_compared_as_it_stands() -> None:
    for name in ("no_module:Net", "of_another_version"):
        theirs = to_dict(load("digits/baseline")) | {"model": {"name": name, "depth": 3}}
        theirs["train"]["news"] = 1
        assert differing(theirs, theirs) == {}
        assert differing(theirs, theirs | {"model": {"name": name}}) == {"model.depth": (3, None)}
        assert differing(theirs, theirs | {"train": theirs["train"] | {"news": 2}}) == {"train.news": (1, 2)}


def test_the_first_difference_is_told_with_both_values() -> None:
    base = load("digits/cutmix")
    assert told({}) is None
    assert first_difference(base, load("digits/cutmix", ["train.epochs=3"])) == "train.epochs: 20 there, 3 now"
    assert first_difference(base, load("digits/cutmix", ["method.lam_per=pair"])) == (
        'method.lam_per: "batch" there, "pair" now'
    )
    theirs = [{"model": {"name": "a:b", **options}} for options in ({"x": 1}, {})]
    assert told(differing(*theirs)) == "model.x: 1 there, not set now"
