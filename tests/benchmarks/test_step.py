"""A training step with each method over one without."""

import math

import pytest
import torch

from alignmixup.benchmarks.options import TRANSFORMER_CASES
from alignmixup.benchmarks.step import CASES, operation_shares, over_baseline, run, step_operations
from alignmixup.models import PreActResNet18


def test_rows(options_of):
    report = run(options_of("step", "--width", "4", "--batch", "4", "--size", "16"))
    assert [row["case"] for row in report.rows] == list(CASES)
    assert report.rows[0]["over baseline"] == 1.0
    assert all(row["ms"] > 0 and math.isfinite(row["over baseline"]) for row in report.rows)
    assert "images/s" in report.notes[0]
    assert "convolution" in report.notes[1]


def test_rows_of_a_transformer(options_of):
    given = ("--transformer", "timm:test_vit", "--batch", "2", "--size", "32")
    assert [row["case"] for row in run(options_of("step", *given)).rows] == list(TRANSFORMER_CASES)


def test_shares_of_operations():
    a = torch.randn(300, 300)
    shares = operation_shares(lambda: [a @ a for _ in range(20)])
    assert next(iter(shares)) == "aten::mm"
    assert 0.5 < shares["aten::mm"] <= sum(shares.values()) <= 1.0001


def test_ratios_by_hand():
    assert over_baseline([0.002, 0.006], [0.001, 0.002]) == {"ms": 4.0, "over baseline": 2.5, "min": 2.0, "max": 3.0}


def test_operations_are_those_of_the_papers_network():
    # 0.556 G multiply-adds for one 32x32 image (two operations each), three passes
    assert step_operations(PreActResNet18(100), 32) == pytest.approx(3 * 2 * 0.556e9, rel=0.01)


def test_bad_values_are_named(options_of):
    with pytest.raises(ValueError, match="--batch must be >= 1 and --size >= 8, got 0 and 32"):
        run(options_of("step", "--batch", "0"))
