"""Growth of the cost."""

import pytest

from alignmixup.benchmarks.scaling import run, shapes


def test_rows(options_of):
    report = run(options_of("scaling", "--largest", str(64 * 512 * 9)))
    assert {row["varied"] for row in report.rows} == {"positions", "batch", "channels"}
    assert all(row["of it plan ms"] > 0 and row["ms"] > 0 and row["floor ms"] > 0 for row in report.rows)


def test_positions_go_from_4_to_196_and_batches_from_16_to_1024():
    every = [shape for _, shape in shapes(2**30)]
    assert {4, 16, 49, 64, 196} <= {height * width for _, _, height, width in every}
    assert {16, 1024} <= {batch for batch, *_ in every}


def test_too_small_a_limit_is_named():
    with pytest.raises(ValueError, match="--largest 10 leaves no shape"):
        shapes(10)
