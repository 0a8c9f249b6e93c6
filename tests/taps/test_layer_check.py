import math

import pytest
import torch
from torch import nn

from alignmixup.taps import probe
from alignmixup.taps.layer_check import check_layers


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


X = torch.randn(4, 3, 8, 8)


def check(names, **options):
    timed = []
    found = probe(network(), X)

    def plan_size(axes):
        return math.prod(axes), math.prod(axes) // 2, math.prod(axes) ** 3

    reports = check_layers(
        found, names, timed.append, plan_size, **{"reads_positions": True, "is_proof": True, **options}
    )
    return reports, timed


def test_a_report_tells_shape_positions_and_cost():
    (one, two), timed = check(["0", "1"])
    assert (one.name, one.shape, one.positions, one.use) == ("0", (4, 8, 6, 6), 36, "positions")
    assert one.share == pytest.approx(1, abs=1e-6)
    assert one.forms[0].layout == "channels_first"
    assert two.milliseconds >= 0
    assert (two.cells, str(two)[:55]) == (18, "1: shape (4, 8, 6, 6), 36 positions aligned as 18 cells")
    assert [tuple(maps.shape) for maps in timed] == [(2, 8, 2, 6), (2, 8, 6, 6)] * 2


def test_a_method_that_aligns_nothing_has_no_cost_and_takes_vectors():
    (report,), timed = check(["2"], reads_positions=False)
    assert report.milliseconds is None
    assert report.positions == 1
    assert not timed
    with pytest.raises(ValueError, match="which has no positions to align; the nearest layers that carry everything: "):
        check(["2"])
