"""Aligned interpolation against other formulations."""

import math
import pickle

import pytest

from alignmixup.benchmarks import alignment
from alignmixup.benchmarks.alignment import floor, parse_shape, run


def test_floor_by_hand():
    # 2 samples, 3 channels, 4 positions: two products of 2*3*4*4 multiply-adds; 24 floats read and written
    assert floor((2, 3, 2, 2)) == (2 * 2 * 96, 2 * 24 * 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rows(options_of, monkeypatch):
    held = 3 * 4 * 8 * 3 * 3 * 4 / 2**20
    peaks = [held + 7, None, held / 2]

    def in_this_process(prepare, *arguments, device):
        prepare, arguments = pickle.loads(pickle.dumps((prepare, arguments)))  # as on its way to the process it is for
        prepare(*arguments)()
        return peaks.pop(0)

    monkeypatch.setattr(alignment, "peak_mib", in_this_process)
    report = run(options_of("alignment", "--shapes", "4x8x3x3", "--only", "align_mix"))
    assert [row["formulation"] for row in report.rows] == ["broadcast", "align_mix", "align_mix, plain loop"]
    assert [row["extra MiB"] for row in report.rows] == [pytest.approx(7), None, 0]
    assert report.rows[0]["times faster"] == 1.0
    for row in report.rows:
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("forward ms", "forward+backward ms"))


@pytest.mark.parametrize("text", ["4x8x3", "4x8x3x0", "axbxcxd", ""])
def test_a_wrong_shape_is_named(text):
    with pytest.raises(ValueError, match=f"a shape is BxCxHxW, such as 128x512x4x4, got '{text}'"):
        parse_shape(text)
