"""Results and table of a comparison."""

from pathlib import Path
from typing import Any

import pytest

from alignmixup.cli.compare.table import print_table
from alignmixup.runs.comparison.results import collect_results
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.jobs.queue import Job, Outcome
from alignmixup.runs.sweep import Variant, expand, parse_sweep
from alignmixup.training.config import to_dict

KEYS = (
    "last10_error_percent", "best_error_percent", "last_error_percent",
    "last_cross_entropy", "seconds", "images_per_second",
)  # fmt: skip


def outcome(variant: Variant, seed: int, error: float | None) -> Outcome:
    job = Job(variant.label, variant.config, RunFolder(Path("runs") / f"{variant.label}-seed{seed}"))
    if error is None:
        return Outcome(job, failure="no memory")
    record: dict[str, Any] = {"seed": seed, "metrics": dict.fromkeys(KEYS, error)}
    record["curve"] = [{"epoch": 1, "error_percent": error}]
    record["config"] = to_dict(variant.config)
    return Outcome(job, record=record | {"environment": {"cores": 2}, "revision": {"commit": None}})


def test_each_row_is_compared_with_the_baseline_of_its_surroundings(capsys: pytest.CaptureFixture[str]) -> None:
    sweeps = [parse_sweep("optimizer.lr=0.1,0.01"), parse_sweep("method.epsilon=0.1")]
    variants = expand(["cifar100/baseline", "cifar100/alignmixup"], sweeps=sweeps)
    errors = {0.1: {"baseline": 20.0, "alignmixup": 18.0}, 0.01: {"baseline": 30.0, "alignmixup": 31.0}}
    outcomes = [
        outcome(variant, seed, errors[variant.config.optimizer.lr][variant.config.method.name] + seed)
        for seed in (0, 1)
        for variant in variants
    ]
    results = collect_results(variants, outcomes, commands=["earlier", "alignmixup compare"])
    found = {method["name"]: method["difference"] for method in results["methods"]}
    assert found["baseline,lr=0.1"] is None
    assert found["alignmixup,lr=0.1,epsilon=0.1"]["mean"]["last10_error_percent"] == -2.0
    assert found["alignmixup,lr=0.1,epsilon=0.1"]["spread"]["last10_error_percent"] == 0.0
    assert found["alignmixup,lr=0.01,epsilon=0.1"]["baseline"] == "baseline,lr=0.01"
    assert found["alignmixup,lr=0.01,epsilon=0.1"]["mean"]["last10_error_percent"] == 1.0
    assert results["methods"][2]["published_error_percent"] == 18.29
    assert results["methods"][2]["settings"] == {"optimizer.lr": "0.1", "method.epsilon": "0.1"}
    assert (results["data"], results["command"]) == ("cifar100", "alignmixup compare")
    assert results["commands"] == ["earlier", "alignmixup compare"]
    assert results["seconds"] == sum(run["seconds"] for method in results["methods"] for run in method["runs"]) > 0
    print_table(results)
    out = capsys.readouterr().out
    for text in (
        "-2.00 ± 0.00",
        "+1.00 ± 0.00",
        "23.24",
        "18.29",
        "paired by seed",
        "full network and number of epochs",
    ):
        assert text in out


def test_failed_runs_are_listed_and_left_out_of_the_means(capsys: pytest.CaptureFixture[str]) -> None:
    variants = expand(["digits/mixup", "digits/cutmix"])
    outcomes = [outcome(variants[0], 0, 3.0), outcome(variants[1], 0, None), outcome(variants[0], 1, None)]
    results = collect_results(variants, outcomes, commands=[""])
    assert [(method["name"], method["seeds"]) for method in results["methods"]] == [("mixup", [0])]
    assert results["failures"][0] == {"name": "cutmix-seed0", "failure": "no memory", "log": "runs/cutmix-seed0.log"}
    assert len(results["failures"]) == 2
    assert collect_results(variants, outcomes[1:2], commands=[""])["methods"] == []
    print_table(results)
    assert "baseline" not in capsys.readouterr().out  # nothing to compare with, no numbers of the paper


def test_a_baseline_of_another_recipe_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    variants = [
        *expand(["digits/baseline"], overrides=["train.epochs=3"]),
        *expand(["digits/mixup", "digits/cutmix"], overrides=["train.epochs=4"]),
    ]
    print_table(collect_results(variants, [outcome(one, 0, 3.0) for one in variants], commands=[""]))
    told = " ".join(capsys.readouterr().out.split())
    assert "mixup, cutmix and the baseline differ in more than the method: train.epochs" in told


def test_pairs_of_different_machines_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    variants = expand(["digits/baseline", "digits/mixup", "digits/cutmix"])
    outcomes = [outcome(one, seed, 3.0) for one in variants for seed in (0, 1)]
    assert outcomes[3].record is not None
    outcomes[3].record["environment"]["processor"] = "Another"  # seed 1 of mixup
    results = collect_results(variants, outcomes, commands=[""])
    assert [(method["difference"] or {}).get("elsewhere") for method in results["methods"]] == [None, [1], []]
    print_table(results)
    told = " ".join(capsys.readouterr().out.split())
    assert "mixup and the baseline ran on different machines or versions of torch" in told
