"""Mixing one batch beside timm's and torchvision's ways."""

import pytest
import torch

from alignmixup.benchmarks import mixing


def test_rows(options_of, monkeypatch):
    monkeypatch.setattr(mixing, "SHAPES", ((4, 3, 8, 8),))
    report = mixing.run(options_of("mixing", "--classes", "5", "--pairs", "2"))
    assert [(row["method"], row["case"]) for row in report.rows] == [
        (method, case) for method in ("mixup", "cutmix") for case in ("ours", "timm, in place", "torchvision")
    ]
    assert all(row["ms"] > 0 and row["10 %"] <= row["ours / this"] <= row["90 %"] for row in report.rows)
    assert report.rows[0]["ours / this"] == 1


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_all_ways_give_a_mixed_batch(method):
    for mix in mixing.ways(method, 5).values():
        x, target = mix(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))
        assert x.shape == (4, 3, 8, 8)
        torch.testing.assert_close(target.sum(1), torch.ones(4))


def test_bad_values_are_named(options_of):
    with pytest.raises(ValueError, match="got 1 and 40"):
        mixing.run(options_of("mixing", "--classes", "1"))
