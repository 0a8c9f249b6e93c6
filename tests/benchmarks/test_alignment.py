"""Aligned interpolation against other formulations."""

import math
import sys

import pytest

from alignmixup.benchmarks.alignment import floor, parse_shape, run


def test_floor_by_hand():
    # 2 samples, 3 channels, 4 positions: two products of 2*3*4*4 multiply-adds; 24 floats read and written
    assert floor((2, 3, 2, 2)) == (2 * 2 * 96, 2 * 24 * 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rows(options_of):
    report = run(options_of("alignment", "--shapes", "4x8x3x3", "--only", "align_mix"))
    assert [row["formulation"] for row in report.rows] == ["broadcast", "align_mix", "align_mix, plain loop"]
    assert report.rows[0]["times faster"] == 1.0
    for row in report.rows:
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("forward ms", "forward+backward ms"))
        assert (row["extra MiB"] is not None) == (sys.platform == "linux")


@pytest.mark.parametrize("text", ["4x8x3", "4x8x3x0", "axbxcxd", ""])
def test_a_wrong_shape_is_named(text):
    with pytest.raises(ValueError, match=f"a shape is BxCxHxW, such as 128x512x4x4, got '{text}'"):
        parse_shape(text)
