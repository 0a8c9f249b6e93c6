"""Rows of the table."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alignmixup.report.collect import find_runs
from alignmixup.report.rows import build_rows, warnings
from alignmixup.report.storing import write_records

Make = Callable[..., Path]


def test_rows_come_in_order_with_their_distance_to_the_baseline(make: Make, tmp_path: Path) -> None:
    for seed in (1, 0):
        make("alignmixup", seed, [18.0 + seed])
        make("baseline", seed, [20.0 + 3 * seed])
    rows = build_rows(find_runs([tmp_path]))
    assert [(row.name, row.method, row.error()) for row in rows] == [
        ("Baseline", "baseline", "21.50 ± 2.12"),
        ("AlignMixup", "alignmixup", "18.50 ± 0.71"),
    ]
    assert rows[0].against is None
    assert rows[1].against is not None
    assert rows[1].against["mean"]["last10_error_percent"] == -3.0  # (18 - 20 + 19 - 23) / 2
    assert [run.record["seed"] for run in rows[1].runs] == [0, 1]
    assert rows[1].published is None


def test_of_several_baselines_the_one_with_the_same_recipe_counts(make: Make, tmp_path: Path) -> None:
    for rate in ("0.1", "0.01"):
        make(f"baseline,lr={rate}", 0, [float(rate)], name="digits/baseline", overrides=(f"optimizer.lr={rate}",))
        make(f"mixup,lr={rate}", 0, [1.0], name="digits/mixup", overrides=(f"optimizer.lr={rate}",))
    make("cutmix", 0, [1.0])
    against = {row.label: row.against and row.against["baseline"] for row in build_rows(find_runs([tmp_path]))}
    assert against == {
        "baseline,lr=0.1": None,
        "baseline,lr=0.01": None,
        "mixup,lr=0.1": "baseline,lr=0.1",
        "mixup,lr=0.01": "baseline,lr=0.01",
        "cutmix": None,
    }


def test_the_papers_numbers_stand_beside_their_network(make: Make, tmp_path: Path) -> None:
    make("alignmixup", 0, [30.0], name="cifar100/alignmixup")
    make("cutmix", 0, [30.0], name="cifar100/cutmix")
    assert [row.published for row in build_rows(find_runs([tmp_path]))] == [None, 18.29]


def test_alignmixup_is_compared_with_the_same_mixing_unaligned(make: Make, tmp_path: Path) -> None:
    at = ("method.input_probability=0", "method.alpha=2")
    for seed in (0, 1):
        for stage, error in (("stage2", 30.0), ("stage3", 20.0)):
            shared = (*at, f"method.layer={stage}")
            make(f"manifold_mixup,layer={stage}", seed, [error], name="digits/manifold_mixup", overrides=shared)
            make(f"alignmixup,layer={stage}", seed, [error + 1 + seed], name="digits/alignmixup", overrides=shared)
    make("alignmixup,input_probability=0.5", 0, [1.0], name="digits/alignmixup", overrides=("method.layer=stage3",))
    own = (*at, "method.name=my_package:MyMethod", "method.layer=stage3")
    make("MyMethod", 0, [25.0], name="digits/alignmixup", overrides=own)
    found = {row.label: row.unaligned for row in build_rows(find_runs([tmp_path]))}
    assert {label for label, unaligned in found.items() if unaligned} == {
        "alignmixup,layer=stage2",
        "alignmixup,layer=stage3",
        "MyMethod",
    }
    assert found["MyMethod"]["mean"]["last10_error_percent"] == 5.0
    for stage in ("stage2", "stage3"):
        unaligned = found[f"alignmixup,layer={stage}"]
        assert unaligned is not None
        assert unaligned["baseline"] == f"manifold_mixup,layer={stage}"
        assert unaligned["mean"]["last10_error_percent"] == 1.5


def test_shares_that_are_not_written_are_those_of_the_methods(make: Make, tmp_path: Path) -> None:
    shared = ("method.layer=stage2", "method.alpha=2")
    for name in ("alignmixup", "manifold_mixup"):  # which mix the input in half and in a third of the batches
        bare = (f"method.name={name}", *shared)
        make(name, 0, [20.0], name="digits/mixup", overrides=bare)
    make(
        "manifold_mixup,half",
        0,
        [30.0],
        name="digits/manifold_mixup",
        overrides=(*shared, "method.input_probability=0.5"),
    )
    unaligned = {row.label: row.unaligned for row in build_rows(find_runs([tmp_path]))}["alignmixup"]
    assert unaligned is not None
    assert unaligned["baseline"] == "manifold_mixup,half"


def test_an_option_at_its_default_makes_no_row_of_its_own(make: Make, tmp_path: Path) -> None:
    for seed, written in enumerate(((), ("method.lam_per=batch",), ("method.lam_per=pair",))):
        make("mixup", seed, [10.0], overrides=written)
    assert [(row.label, len(row.runs)) for row in build_rows(find_runs([tmp_path]))] == [
        ("mixup,method.lam_per=batch", 2),
        ("mixup,method.lam_per=pair", 1),
    ]


def test_a_row_is_of_one_configuration_and_names_say_what_differs(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [80.0], root="x", overrides=("method.alpha=1",))
    make("mixup", 1, [70.0], root="x", overrides=("method.alpha=1.0", "train.threads=1", "data.root=elsewhere"))
    make("mixup", 2, [60.0], root="y", overrides=("model.width=32", "method.alpha=1.0"))
    rows = build_rows(find_runs([tmp_path]))
    width = rows[0].runs[0].config["model"]["width"]
    assert [(row.name, len(row.runs)) for row in rows] == [
        (f"Mixup, model.width={width}", 2),  # seeds, and what changes nothing, do not count
        ("Mixup, model.width=32", 1),
    ]


def test_runs_on_other_images_are_no_seeds_of_one_another(make: Make, tmp_path: Path) -> None:
    for seed, root in enumerate(("cats", "cars")):
        make("mixup", seed, [10.0 + seed], name="folder/mixup", root=root, overrides=(f"data.root={tmp_path / root}",))
    runs = find_runs([tmp_path])
    cats, cars = build_rows(runs)  # by seed
    assert cars.label.startswith("mixup,images=cars#")
    assert cats.label.startswith("mixup,images=cats#")
    (stored,) = find_runs([write_records(runs[:1], tmp_path / "stored")])
    assert stored.images == ""  # which images they were is not stored: those of the runs like it, where these agree
    again = replace(stored, record={**stored.record, "seed": 7})
    assert [len(row.runs) for row in build_rows([runs[0], again])] == [2]
    assert [len(row.runs) for row in build_rows([*runs, again])] == [1, 1, 1]


def test_the_only_baseline_is_compared_with_and_what_it_differs_in_is_said(make: Make, tmp_path: Path) -> None:
    make("baseline", 0, [50.0], overrides=("model.width=32",))
    make("mixup", 0, [60.0])
    rows = build_rows(find_runs([tmp_path]))
    assert rows[1].against is not None
    assert rows[1].apart == ("model.width",)
    assert warnings(rows) == ["Minus baseline of Mixup: the only baseline differs in model.width too."]


@pytest.mark.parametrize("other", [{"processor": "Another"}, {"torch": "2.6"}])
def test_pairs_of_different_rounding_are_told_of(make: Make, tmp_path: Path, other: dict[str, str]) -> None:
    shared = ("method.layer=stage3", "method.input_probability=0", "method.alpha=2")
    for seed in (0, 1):
        make("baseline", seed, [50.0])
        make("mixup", seed, [45.0])
        make("manifold_mixup", seed, [44.0], overrides=shared)
        make("alignmixup", seed, [43.0], overrides=shared, **(other if seed else {}))
    rows = build_rows(find_runs([tmp_path]))
    assert [row.against and row.against["elsewhere"] for row in rows] == [None, [], [], [1]]
    text = "{} of AlignMixup: runs of one seed were made by different machines or versions of torch. "
    told = warnings(rows)
    for line, pair in zip(told, ("Minus baseline", "Minus unaligned"), strict=True):
        assert line.startswith(text.format(pair))


def test_of_baselines_alike_the_one_of_the_same_machine_counts(make: Make, tmp_path: Path) -> None:
    make("baseline", 0, [50.0], root="here")
    make("baseline", 0, [40.0], root="there", processor="Another")
    make("mixup", 0, [45.0], root="there", processor="Another")
    runs = [replace(run, label=f"{run.path.parent.name}/{run.label}") for run in find_runs([tmp_path])]
    found = {row.label: row.against for row in build_rows(runs)}["there/mixup"]
    assert found is not None
    assert (found["mean"]["last10_error_percent"], found["elsewhere"]) == (5.0, [])


def test_keys_that_change_nothing_take_no_difference_away(make: Make, tmp_path: Path) -> None:
    free = ("train.checkpoint_minutes=5", "data.download=true", "train.threads=3", "evaluation.batch_size=7")
    shared = ("method.layer=stage3", "method.input_probability=0", "method.alpha=2")
    make("alignmixup", 0, [60.0], overrides=shared)
    make("manifold_mixup", 0, [62.0], overrides=(*shared, *free))
    make("baseline", 0, [70.0], overrides=free)
    make("baseline,wide", 0, [50.0], name="digits/baseline", overrides=("model.width=32",))
    (row,) = (row for row in build_rows(find_runs([tmp_path])) if row.label == "alignmixup")
    assert row.against is not None
    assert row.unaligned is not None
    assert (row.against["baseline"], row.unaligned["baseline"], row.apart) == ("baseline", "manifold_mixup", ())


def test_runs_on_files_that_changed_between_them_are_no_seeds_of_one_another(make: Make, tmp_path: Path) -> None:
    for label in ("baseline", "mixup"):
        for seed, files in ((0, "9 images, then"), (1, "9 images, now"), (2, "9 images, now")):
            file = make(label, seed, [20.0 + seed], name=f"folder/{label}") / "record.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"image_files": {"training": files}}))
    for place in (tmp_path, write_records(find_runs([tmp_path]), tmp_path / "stored")):
        rows = build_rows(find_runs([place]))
        assert [(row.method, [run.record["seed"] for run in row.runs]) for row in rows] == [
            ("baseline", [0]),
            ("baseline", [1, 2]),
            ("mixup", [0]),
            ("mixup", [1, 2]),
        ]
        assert [row.label.rpartition(", ")[2].strip('"') for row in rows] == ["then", "now"] * 2
        assert [row.against and row.against["seeds"] for row in rows] == [None, None, [0], [1, 2]]
